//! Who asks, if the token said one thing more or otherwise.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{Principal, claim::Told, united};
use crate::domain::{
    grants::{ASSUMED, Grant, ResolvedGrant},
    realm::Realm,
    realm_file::ClaimMapping,
    value::{Attributes, Value},
};

impl ClaimMapping {
    /// What a token says for a single value of this attribute; `None` where nothing can be found that is read as it.
    pub(in crate::domain) fn said_for(&self, value: &Value) -> Option<Value> {
        let text = match value {
            Value::Entity(entity) => &entity.id,
            Value::String(text) => text,
            Value::Bool(_) | Value::Long(_) => return Some(value.clone()),
            Value::List(_) | Value::Record(_) | Value::Null => return None,
        };
        match &self.texts.forms {
            None => Some(Value::String(Arc::clone(text))),
            Some(forms) => forms.written(text).map(|text| Value::String(text.into())),
        }
    }
}

impl Principal {
    /// The principal if its token said these single values at a claim, a dotted path: besides what it says there, or
    /// instead. Every attribute that the realm reads out of the claim follows.
    ///
    /// `None` where the realm doesn't read it so, and where the claim says who the principal is.
    pub(in crate::domain) fn saying(&self, realm: &Realm, claim: &str, values: &[Value], adds: bool) -> Option<Self> {
        let mapping = &realm.file.principal;
        let of_claim = |attribute: &&ClaimMapping| attribute.path.join(".") == claim;
        let path = &mapping.attributes.iter().find(of_claim)?.path;
        let first = path.first()?;
        let overlaps = |attribute: &ClaimMapping| attribute.path.first() == Some(first) && attribute.path != *path;
        if mapping.id_claims.contains(first) || mapping.attributes.iter().any(overlaps) {
            return None;
        }
        let said: Option<Vec<Json>> = values.iter().map(json).collect();
        let said = if adds { Json::Array(said?) } else { said?.pop()? };
        let declared = realm.schema.entities.get(&mapping.entity)?;
        let mut attributes: Vec<(Arc<str>, Value)> =
            self.attributes.iter().map(|(name, value)| (Arc::clone(name), value.clone())).collect();
        let claims = Map::new();
        let told = Told::by_token(&claims);
        for attribute in mapping.attributes.iter().filter(of_claim) {
            let Some(member) = declared.get(&attribute.attribute) else { continue };
            let read = told.attribute(realm, attribute, member, &said).ok()?;
            let known = self.attributes.get(&attribute.attribute);
            let value = match (read, known) {
                (Some(Value::List(read)), Some(Value::List(known))) if adds => Some(united(known.clone(), read)),
                // Of several the first counts, and what is added comes last.
                (Some(_), Some(known)) if adds => Some(known.clone()),
                (read, _) => read,
            };
            attributes.extend(value.map(|value| (Arc::clone(&attribute.attribute), value)));
        }
        let attributes: Attributes = attributes.into_iter().collect();
        Self::again(realm, self.entity.clone(), attributes).ok()
    }

    /// The principal if its claim set granted this, whatever is asked.
    pub(in crate::domain) fn granted(mut self, grant: Grant) -> Self {
        self.assumed = Some(ResolvedGrant { number: ASSUMED, grant: Arc::new(grant) });
        self
    }
}

fn json(value: &Value) -> Option<Json> {
    match value {
        Value::Bool(flag) => Some(Json::from(*flag)),
        Value::Long(number) => Some(Json::from(*number)),
        Value::String(text) => Some(Json::from(&**text)),
        Value::Entity(_) | Value::List(_) | Value::Record(_) | Value::Null => None,
    }
}
