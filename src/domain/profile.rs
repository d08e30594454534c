//! Profiles: data policies that narrow the members of a resource, for reading and for writing.
//!
//! A profile says nothing about rows and grants nothing. Which one applies follows from the profiles that are assigned
//! to the principal and from the media type of the request ([`selection`]); an allow then carries it as an obligation,
//! and the policies see of a proposed resource what it lets through ([`effect`]).
//!
//! The rules are those of Ed-Fi API profiles (docs.ed-fi.org, "API Profiles").

mod definition;
pub(super) mod effect;
mod media_type;
pub mod members;
pub(super) mod selection;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use members::Members;

use super::{
    fault::Fault,
    policy_set::SourceFile,
    realm_file::{InvalidProfiles, ProfileSettings},
    resource_type::{ResourceType, ResourceTypes},
};

/// What a request does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It reads it.
    Readable,
    /// It writes it.
    Writable,
}

impl Usage {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Readable, Self::Writable];

    /// The word of media types and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Readable => "readable",
            Self::Writable => "writable",
        }
    }

    /// The HTTP header that names a profile.
    fn header(self) -> &'static str {
        match self {
            Self::Readable => "Accept",
            Self::Writable => "Content-Type",
        }
    }
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, in the letters of its definition.
    pub name: Arc<str>,
    /// The resources that it speaks about.
    pub resources: Vec<ProfileResource>,
    /// Its definition makes sense.
    pub is_valid: bool,
}

/// What a profile says of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileResource {
    /// The name of the resource, singular.
    pub name: Arc<str>,
    /// The schema of the resource, where the profile says.
    pub logical_schema: Option<Arc<str>>,
    /// The realm's resource types that it speaks about.
    pub types: Vec<Arc<str>>,
    /// What can be read.
    pub readable: Option<Members>,
    /// What can be written.
    pub writable: Option<Members>,
}

impl ProfileResource {
    /// What it says for a usage.
    pub fn members(&self, usage: Usage) -> Option<&Members> {
        match usage {
            Usage::Readable => self.readable.as_ref(),
            Usage::Writable => self.writable.as_ref(),
        }
    }

    /// It means this resource type. The schema compares with what stands before the `/` of the type's name.
    fn is_of(&self, resource_type: &ResourceType) -> bool {
        let schema = resource_type.name.split_once('/').map(|(schema, _)| schema);
        let is_schema = |wanted: &Arc<str>| schema.is_none_or(|schema| schema.eq_ignore_ascii_case(wanted));
        self.name.eq_ignore_ascii_case(&resource_type.member_name())
            && self.logical_schema.as_ref().is_none_or(is_schema)
    }

    fn is_same(&self, other: &Self) -> bool {
        let schema = |resource: &Self| resource.logical_schema.as_ref().map(|name| name.to_ascii_lowercase());
        self.name.eq_ignore_ascii_case(&other.name) && schema(self) == schema(other)
    }
}

impl Profile {
    /// What it says of a resource type.
    pub fn resource(&self, resource_type: &ResourceType) -> Option<&ProfileResource> {
        self.resources.iter().find(|resource| resource.types.contains(&resource_type.name))
    }

    /// It narrows this usage of the resource type. Nobody knows what an invalid profile with a nameless resource means
    /// to narrow, so it counts for all.
    fn covers(&self, resource_type: &ResourceType, usage: Usage) -> bool {
        let is_unclear = || !self.is_valid && self.resources.iter().any(|resource| resource.name.is_empty());
        self.resource(resource_type).is_some_and(|resource| resource.members(usage).is_some()) || is_unclear()
    }
}

/// The profiles of a realm. Names compare without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    by_name: BTreeMap<String, Profile>,
    /// Why profiles are invalid, and what else is worth a look.
    pub warnings: Vec<Fault>,
}

impl Profiles {
    /// Reads the definitions of a realm.
    ///
    /// # Errors
    /// Every fault with its place: bad XML, unknown elements and attributes, two profiles of one name.
    pub(super) fn read(
        files: &[SourceFile],
        settings: &ProfileSettings,
        types: &ResourceTypes,
    ) -> Result<Self, Vec<Fault>> {
        let (mut profiles, mut faults) = (Self::default(), Vec::new());
        let is_definition = |file: &&SourceFile| {
            let below = file.path.strip_prefix(&*settings.folder).and_then(|rest| rest.strip_prefix('/'));
            below.is_some() && file.has_ending(&["xml"])
        };
        for file in files.iter().filter(is_definition) {
            let definition::Definitions { profiles: found, warnings, faults: wrong } =
                definition::read(file, settings, types);
            profiles.warnings.extend(warnings);
            faults.extend(wrong);
            for (profile, place) in found {
                if profile.name.is_empty() || (!profile.is_valid && settings.invalid == InvalidProfiles::Drop) {
                    continue;
                }
                let message = format!("there is another profile `{}`; names differ in more than case", profile.name);
                if profiles.by_name.insert(profile.name.to_ascii_lowercase(), profile).is_some() {
                    faults.push(Fault { message, ..place });
                }
            }
        }
        if faults.is_empty() { Ok(profiles) } else { Err(faults) }
    }

    /// The profile of this name.
    pub fn find(&self, name: &str) -> Option<&Profile> {
        self.by_name.get(&name.to_ascii_lowercase())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
