//! An attribute of the principal, read out of the claims as the realm says.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Map, Value as Json};

use super::PrincipalError;
use crate::domain::{
    aliases::Aliases,
    forms::{Forms, lower_case},
    realm::Realm,
    realm_file::{ClaimMapping, TextRules},
    record_mapping::Relations,
    schema::{AttributeType, Member},
    value::Value,
};

/// Claims, and who says them.
#[derive(Clone, Copy)]
pub(super) struct Told<'c> {
    claims: &'c Map<String, Json>,
    is_introspection: bool,
}

impl<'c> Told<'c> {
    /// The payload of a token.
    pub(super) fn by_token(claims: &'c Map<String, Json>) -> Self {
        Self { claims, is_introspection: false }
    }

    /// The answer of an introspection.
    pub(super) fn by_introspection(claims: &'c Map<String, Json>) -> Self {
        Self { claims, is_introspection: true }
    }

    /// A claim that is there; `null` is as if it were not.
    pub(super) fn claim(&self, name: &str) -> Option<&'c Json> {
        self.claims.get(name).filter(|claim| !claim.is_null())
    }

    /// What is said of an attribute, if anything is.
    ///
    /// # Errors
    /// Something on the way is neither an object nor a list of objects.
    pub(super) fn of(&self, mapping: &ClaimMapping) -> Result<Option<Cow<'c, Json>>, PrincipalError> {
        let path = self.path(mapping);
        let Some((claim, path)) = path.split_first() else { return Ok(None) };
        let Some(claim) = self.claim(claim) else { return Ok(None) };
        let (mut ends, mut through_list) = (Vec::new(), false);
        walk(claim, path, &mut ends, &mut through_list)
            .map_err(|expected| PrincipalError::ClaimInvalid { claim: self.name(mapping), expected })?;
        if !through_list {
            return Ok(ends.pop().map(Cow::Borrowed));
        }
        let each = ends.into_iter().flat_map(|end| match end {
            Json::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        });
        Ok(Some(Cow::Owned(each.cloned().collect())))
    }

    /// What an error calls the place where an attribute is said.
    pub(super) fn name(&self, mapping: &ClaimMapping) -> Arc<str> {
        self.path(mapping).join(".").into()
    }

    fn path<'m>(&self, mapping: &'m ClaimMapping) -> &'m [Arc<str>] {
        // An answer that has nothing of the other place says it as tokens do.
        let begins = |path: &&Vec<Arc<str>>| path.first().is_some_and(|first| self.claims.contains_key(&**first));
        let elsewhere = mapping.introspection.as_ref().filter(|_| self.is_introspection).filter(begins);
        elsewhere.unwrap_or(&mapping.path)
    }

    /// What the claims say of an attribute of this type; `None` where they say something that gives it no value.
    ///
    /// # Errors
    /// It has the wrong type or form, or the schema requires a value. The message holds no value.
    pub(super) fn attribute(
        &self,
        realm: &Realm,
        mapping: &ClaimMapping,
        member: &Member,
        said: &Json,
    ) -> Result<Option<Value>, PrincipalError> {
        let invalid = |expected| PrincipalError::ClaimInvalid { claim: self.name(mapping), expected };
        let reader = Reader { mapping, aliases: self.aliases(realm, mapping), relations: &realm.relations };
        let value = match &member.value_type {
            AttributeType::Set(element) => reader.set(element, said).map(Some),
            single => reader.single(single, said),
        };
        match value.map_err(invalid)? {
            None if member.is_required => Err(invalid("of a form that the realm reads")),
            value => Ok(value),
        }
    }

    /// The names that stand for others in what this issuer says, with the groups of them that count.
    fn aliases<'r>(&self, realm: &'r Realm, mapping: &ClaimMapping) -> Option<(&'r Aliases, Option<&'r [Arc<str>]>)> {
        let aliases = realm.aliases.get(mapping.texts.aliases.as_ref()?)?;
        let issuer = self.claim("iss").and_then(Json::as_str).and_then(|name| realm.issuer(name));
        Some((aliases, issuer.and_then(|issuer| issuer.aliases.as_deref())))
    }
}

/// Gathers what stands at the end of a path; of lists, at the end of the path of each member.
fn walk<'c>(
    value: &'c Json,
    path: &[Arc<str>],
    ends: &mut Vec<&'c Json>,
    through_list: &mut bool,
) -> Result<(), &'static str> {
    let Some((name, rest)) = path.split_first() else {
        ends.push(value);
        return Ok(());
    };
    match value {
        Json::Object(members) => match members.get(&**name) {
            None | Some(Json::Null) => Ok(()),
            Some(member) => walk(member, rest, ends, through_list),
        },
        Json::Array(items) => {
            *through_list = true;
            items.iter().try_for_each(|item| walk(item, path, ends, through_list))
        }
        _ => Err("an object or a list of objects on the way to its end"),
    }
}

/// Reads what is said by the rules of one mapping.
struct Reader<'r> {
    mapping: &'r ClaimMapping,
    aliases: Option<(&'r Aliases, Option<&'r [Arc<str>]>)>,
    relations: &'r Relations,
}

impl Reader<'_> {
    fn set(&self, element: &AttributeType, said: &Json) -> Result<Value, &'static str> {
        let items = self.items(said)?;
        let read = items.iter().filter_map(|item| self.text(item).transpose());
        let values = read.map(|item| scalar(element, &*item?, self.relations));
        let mut values = values.collect::<Result<Vec<Value>, _>>()?;
        values.sort();
        values.dedup();
        Ok(Value::List(values))
    }

    fn single(&self, wanted: &AttributeType, said: &Json) -> Result<Option<Value>, &'static str> {
        let items = if self.mapping.is_first { self.items(said)? } else { vec![Cow::Borrowed(said)] };
        let mut read = items.iter().map(|item| self.text(item)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        read.next().map(|item| scalar(wanted, &item, self.relations)).transpose()
    }

    /// The members of what is said, in its order. Those without text are none.
    fn items<'j>(&self, said: &'j Json) -> Result<Vec<Cow<'j, Json>>, &'static str> {
        match (said, &self.mapping.texts.separator) {
            (Json::Array(items), _) => {
                if self.mapping.is_list && !items.iter().all(Json::is_string) {
                    return Err("a list of texts");
                }
                Ok(items.iter().filter(|item| !is_blank(item)).map(Cow::Borrowed).collect())
            }
            _ if self.mapping.is_list => Err("a list of texts"),
            (Json::String(text), Some(separator)) => {
                // What is apart by blanks has none to trim, and other white space is part of it (RFC 6749 section 3.3).
                let trim = |part: &'j str| if **separator == *" " { part } else { part.trim() };
                let parts = text.split(&**separator).map(trim).filter(|part| !part.is_empty());
                Ok(parts.map(|part| Cow::Owned(Json::String(part.to_owned()))).collect())
            }
            (single, _) => Ok(vec![Cow::Borrowed(single)]),
        }
    }

    /// What one text counts as, if it counts. What is no text counts as it is, unless the mapping looks into texts.
    fn text<'j>(&self, item: &'j Json) -> Result<Option<Cow<'j, Json>>, &'static str> {
        let TextRules { forms, unlike, is_lower, .. } = &self.mapping.texts;
        if forms.is_none() && unlike.is_none() && !is_lower && self.aliases.is_none() {
            return Ok(Some(Cow::Borrowed(item)));
        }
        let Json::String(text) = item else { return Err("a string") };
        if unlike.as_ref().is_some_and(|unlike| unlike.fits(text)) {
            return Ok(None);
        }
        let read = |forms: &Forms| forms.read(text);
        let Some(mut text) = forms.as_ref().map_or(Some(Cow::Borrowed(text.as_str())), read) else { return Ok(None) };
        if *is_lower {
            text = Cow::Owned(lower_case(&text));
        }
        let meant = self.aliases.map_or(&*text, |(aliases, groups)| aliases.meant(groups, &text));
        Ok(Some(Cow::Owned(Json::String(meant.to_owned()))))
    }
}

fn is_blank(item: &Json) -> bool {
    item.as_str().is_some_and(|text| text.trim().is_empty())
}

fn scalar(wanted: &AttributeType, json: &Json, relations: &Relations) -> Result<Value, &'static str> {
    match (wanted, json) {
        (AttributeType::Bool, Json::Bool(flag)) => Ok(Value::Bool(*flag)),
        (AttributeType::Bool, _) => Err("a boolean"),
        (AttributeType::Long, Json::Number(number)) => number.as_i64().map(Value::Long).ok_or("a whole number"),
        (AttributeType::Long, Json::String(text)) => text.parse().map(Value::Long).map_err(|_| "a whole number"),
        (AttributeType::Long, _) => Err("a whole number"),
        (AttributeType::String, Json::String(text)) => Ok(Value::String(text.as_str().into())),
        (AttributeType::String, _) => Err("a string"),
        (AttributeType::Entity(entity_type), Json::String(id)) => {
            relations.entity_id(entity_type, id).map(Value::Entity)
        }
        (AttributeType::Entity(entity_type), Json::Number(id)) if id.is_i64() => {
            relations.entity_id(entity_type, &id.to_string()).map(Value::Entity)
        }
        (AttributeType::Entity(_), _) => Err("a string or a whole number"),
        (AttributeType::Set(_) | AttributeType::Record(_) | AttributeType::Other, _) => {
            Err("a value that a claim can hold")
        }
    }
}
