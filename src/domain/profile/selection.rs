//! Which profile applies to a request, and why a request is refused for the profile it names or leaves unnamed.

use std::sync::Arc;

use super::{
    Profile, Profiles, Usage,
    media_type::{self, Asked, Named},
    members::Members,
};
use crate::domain::{
    access_request::AccessRequest,
    decision::Outcome,
    denial::{Detail, Details},
    principal::Principal,
    realm::Realm,
    realm_file::{HeaderForm, MissingProfiles, ProfileSettings},
    resource_type::ResourceType,
    value::Value,
};

/// The profile that applies to a request.
#[derive(Debug)]
pub(in crate::domain) struct Selected<'r> {
    /// The profile.
    pub(super) profile: &'r Profile,
    /// What it says.
    pub(super) members: &'r Members,
    /// What for.
    pub(super) usage: Usage,
    /// The realm's settings.
    pub(super) settings: &'r ProfileSettings,
}

/// Why a request is refused before any policy is asked.
#[derive(Debug)]
pub(in crate::domain) struct Refusal {
    pub(in crate::domain) outcome: Outcome,
    /// The code of its reason.
    pub(in crate::domain) code: &'static str,
    /// The template of the denial, where it is not the one of the code.
    pub(in crate::domain) template: Option<&'static str>,
    /// A sentence for a person.
    pub(in crate::domain) message: Arc<str>,
    /// What the texts of the refusal can name.
    pub(in crate::domain) details: Details,
}

/// Profiles are assigned for what is asked, and the request names none of these.
const REQUIRED: (&str, &str) =
    ("PROFILE_REQUIRED", "the media type names none of the profiles that are assigned to the caller for this");
/// The request names a profile, but the caller has others.
const NOT_ASSIGNED: (&str, &str) =
    ("PROFILE_NOT_ASSIGNED", "the media type names a profile that is not assigned to the caller");

/// Finds the profile of a request; none where no profile has a say.
///
/// # Errors
/// The refusal of a request that names a profile wrongly, or none where it must.
pub(in crate::domain) fn select<'r>(
    realm: &'r Realm,
    principal: &Principal,
    request: &AccessRequest,
) -> Result<Option<Selected<'r>>, Refusal> {
    let Some((settings, profiles)) = realm.file.profiles.as_ref().zip(realm.profiles.as_ref()) else { return Ok(None) };
    let Some((usage, method)) = usage_of(settings, &request.asked_action) else { return Ok(None) };
    let assigned = assigned(principal, &settings.attribute);
    if assigned.is_empty() && request.media_type.is_empty() {
        return Ok(None);
    }
    let resource_type = &*request.resource_type;
    let asking = Asking { settings, profiles, resource_type, usage, method };
    let known: Vec<&Profile> = assigned.iter().filter_map(|name| profiles.find(name)).collect();
    if known.len() < assigned.len() && settings.missing == MissingProfiles::Refuse {
        let message = "a profile is assigned to the caller that the realm does not have";
        return Err(asking.refuse("PROFILE_NOT_AVAILABLE", Outcome::Indeterminate, message));
    }
    let mut available: Vec<&Profile> = known.iter().copied().filter(|p| p.covers(resource_type, usage)).collect();
    available.sort_by_key(|profile| profile.name.to_ascii_lowercase());
    let profile = match (media_type::read(&request.media_type, settings), available.as_slice()) {
        (Asked::Malformed, _) => return Err(asking.header_invalid()),
        (Asked::UnknownUsage, _) => return Err(asking.usage_unknown()),
        (Asked::Profile(named), available) => asking.named(&named, &known, available)?,
        (Asked::Nothing, []) => return Ok(None),
        (Asked::Nothing, [only]) => only,
        (Asked::Nothing, several) => return Err(asking.required(REQUIRED, several)),
    };
    asking.take(profile).map(Some)
}

/// What requests of this kind could name.
#[derive(Debug)]
pub(in crate::domain) struct Choices {
    /// The media types of the profiles that are assigned for what is asked, in the order of their names.
    pub(in crate::domain) media_types: Vec<Arc<str>>,
    /// The profile that the request names, where it is not assigned.
    pub(in crate::domain) unassigned: Option<Arc<str>>,
}

/// Finds what a request could name instead of what it names; none where profiles have no say.
pub(in crate::domain) fn choices(realm: &Realm, principal: &Principal, request: &AccessRequest) -> Option<Choices> {
    let (settings, profiles) = realm.file.profiles.as_ref().zip(realm.profiles.as_ref())?;
    let (usage, _) = usage_of(settings, &request.asked_action)?;
    let resource_type = &*request.resource_type;
    let assigned = assigned(principal, &settings.attribute);
    let known = assigned.iter().filter_map(|name| profiles.find(name));
    let mut names: Vec<&Arc<str>> =
        known.filter(|profile| profile.covers(resource_type, usage)).map(|profile| &profile.name).collect();
    names.sort_by_key(|name| name.to_ascii_lowercase());
    names.dedup();
    let resource = resource_type.member_name();
    let media_type = |name: &&Arc<str>| media_type::write(settings, &resource, name, usage).into();
    let named = match media_type::read(&request.media_type, settings) {
        Asked::Profile(named) => profiles.find(named.profile).map(|profile| Arc::clone(&profile.name)),
        Asked::Nothing | Asked::Malformed | Asked::UnknownUsage => None,
    };
    let is_assigned = |name: &Arc<str>| assigned.iter().any(|assigned| assigned.eq_ignore_ascii_case(name));
    Some(Choices {
        media_types: names.iter().map(media_type).collect(),
        unassigned: named.filter(|name| !is_assigned(name)),
    })
}

/// The usage of an action and the method that texts name.
fn usage_of<'r>(settings: &'r ProfileSettings, action: &str) -> Option<(Usage, &'r str)> {
    let method =
        |list: &'r [(Arc<str>, Arc<str>)]| list.iter().find(|(name, _)| **name == *action).map(|(_, method)| &**method);
    let readable = method(&settings.readable).map(|method| (Usage::Readable, method));
    readable.or_else(|| method(&settings.writable).map(|method| (Usage::Writable, method)))
}

/// The names of the assigned profiles.
fn assigned<'p>(principal: &'p Principal, attribute: &str) -> Vec<&'p str> {
    let names = match principal.attributes.get(attribute) {
        Some(Value::List(names)) => names.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    names.iter().filter_map(|name| if let Value::String(name) = name { Some(&**name) } else { None }).collect()
}

/// A request, as far as profiles are concerned.
struct Asking<'r, 'q> {
    settings: &'r ProfileSettings,
    profiles: &'r Profiles,
    resource_type: &'q ResourceType,
    usage: Usage,
    method: &'r str,
}

impl<'r> Asking<'r, '_> {
    /// The profile that the header names, when it may be used.
    fn named(
        &self,
        named: &Named<'_>,
        assigned: &[&'r Profile],
        available: &[&'r Profile],
    ) -> Result<&'r Profile, Refusal> {
        let is_among =
            |profiles: &[&Profile], profile: &Profile| profiles.iter().any(|other| other.name == profile.name);
        let by_facets = self.settings.header == HeaderForm::Facets;
        if by_facets {
            self.check_usage(named)?;
        }
        let profile = self.profiles.find(named.profile).ok_or_else(|| self.unknown(named))?;
        if !profile.is_valid {
            return Err(self.misconfigured(named.profile));
        }
        let counting = if by_facets { available } else { assigned };
        if !available.is_empty() && !is_among(counting, profile) {
            let why = if is_among(assigned, profile) { REQUIRED } else { NOT_ASSIGNED };
            return Err(self.required(why, available));
        }
        if !named.resource.eq_ignore_ascii_case(&self.resource_type.member_name()) {
            return Err(self.mismatch(named));
        }
        if !by_facets {
            self.check_usage(named)?;
        }
        match profile.resource(self.resource_type) {
            None if !available.is_empty() => Err(self.required(REQUIRED, available)),
            None => Err(self.not_contained(named)),
            Some(resource) if resource.members(self.usage).is_none() => Err(self.usage_missing(named, &resource.name)),
            Some(_) => Ok(profile),
        }
    }

    fn check_usage(&self, named: &Named<'_>) -> Result<(), Refusal> {
        if named.usage == self.usage {
            return Ok(());
        }
        let (code, message) = match self.usage {
            Usage::Readable => ("PROFILE_WRITABLE_ON_READ", "the media type names a profile for writing"),
            Usage::Writable => ("PROFILE_READABLE_ON_WRITE", "the media type names a profile for reading"),
        };
        Err(self.refuse(code, Outcome::Forbidden, message))
    }

    /// A profile that applies, when it can.
    fn take(&self, profile: &'r Profile) -> Result<Selected<'r>, Refusal> {
        let resource = profile.resource(self.resource_type).filter(|_| profile.is_valid);
        let members = resource.and_then(|resource| resource.members(self.usage));
        let members = members.ok_or_else(|| self.misconfigured(&profile.name))?;
        Ok(Selected { profile, members, usage: self.usage, settings: self.settings })
    }

    fn header_invalid(&self) -> Refusal {
        let message = "the media type names a profile in no known form";
        self.refuse("PROFILE_HEADER_INVALID", Outcome::Forbidden, message)
    }

    fn usage_unknown(&self) -> Refusal {
        let message = "the media type ends in neither `readable` nor `writable`";
        self.refuse("PROFILE_USAGE_UNKNOWN", Outcome::Forbidden, message)
    }

    fn unknown(&self, named: &Named<'_>) -> Refusal {
        let code = match self.usage {
            Usage::Readable => "PROFILE_UNKNOWN_ON_READ",
            Usage::Writable => "PROFILE_UNKNOWN_ON_WRITE",
        };
        let message = "the media type names a profile that the realm does not have";
        self.refuse(code, Outcome::Forbidden, message).with("profile", named.profile)
    }

    fn misconfigured(&self, profile: &str) -> Refusal {
        let message = "the profile's definition is invalid";
        self.refuse("PROFILE_MISCONFIGURED", Outcome::Indeterminate, message).with("profile", profile)
    }

    fn required(&self, (code, message): (&'static str, &str), available: &[&Profile]) -> Refusal {
        let template = match self.usage {
            Usage::Readable => "PROFILE_REQUIRED_ON_READ",
            Usage::Writable => "PROFILE_REQUIRED_ON_WRITE",
        };
        let resource = self.resource_type.member_name();
        let written = |profile: &&Profile| media_type::write(self.settings, &resource, &profile.name, self.usage);
        let media_types = available.iter().map(written).collect();
        let mut refusal = self.refuse(code, Outcome::Forbidden, message);
        refusal.template = Some(template);
        refusal.details.push(("media_types", Detail::Names(media_types)));
        refusal
    }

    fn mismatch(&self, named: &Named<'_>) -> Refusal {
        let message = "the media type names another resource than the request";
        let refusal = self.refuse("PROFILE_RESOURCE_MISMATCH", Outcome::Forbidden, message);
        refusal.with("named_resource", named.resource)
    }

    fn not_contained(&self, named: &Named<'_>) -> Refusal {
        let message = "the profile does not speak about this resource";
        self.refuse("PROFILE_NOT_CONTAINED", Outcome::Forbidden, message).with("profile", named.profile)
    }

    fn usage_missing(&self, named: &Named<'_>, resource: &str) -> Refusal {
        let message = format!("the profile does not make this resource {}", self.usage.name());
        let mut refusal = self.refuse("PROFILE_USAGE_MISSING", Outcome::Forbidden, &message);
        refusal.details.retain(|(name, _)| *name != "resource");
        refusal.with("profile", named.profile).with("resource", resource)
    }

    fn refuse(&self, code: &'static str, outcome: Outcome, message: &str) -> Refusal {
        Refusal { outcome, code, template: None, message: message.into(), details: Details::new() }
            .with("header", self.usage.header())
            .with("method", self.method)
            .with("usage", self.usage.name())
            .with("resource", &self.resource_type.member_name())
    }
}

impl Refusal {
    /// Adds what texts can name.
    pub(super) fn with(mut self, name: &'static str, text: &str) -> Self {
        self.details.push((name, Detail::Text(text.to_owned())));
        self
    }
}
