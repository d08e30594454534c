//! What a profile does: to the values that policies see, and as an obligation of an allow.

use std::sync::Arc;

use super::{
    Usage, media_type,
    selection::{Refusal, Selected},
};
use crate::domain::{
    access_request::{AccessRequest, Phase, PhaseValues},
    decision::{Obligation, Outcome},
    denial::Details,
    resource_type::{ResourceType, Subject},
    value::{Attributes, Value},
};

impl Selected<'_> {
    /// The request as the policies are to see it: of the proposed values, those that the profile lets through. Where a
    /// stored resource is there, it keeps its values of hidden members, as the API does when it merges the two.
    ///
    /// # Errors
    /// The refusal of a create for which the profile hides a member that is needed.
    pub(in crate::domain) fn shape(&self, request: &AccessRequest) -> Result<Option<AccessRequest>, Refusal> {
        if self.usage == Usage::Readable {
            return Ok(None);
        }
        let existing = request.phases.iter().find(|values| values.phase == Phase::Existing);
        if existing.is_none()
            && let Some(member) = self.hidden_required(&request.resource_type)
        {
            return Err(self.data_policy(member));
        }
        let mut shaped = request.clone();
        for values in shaped.phases.iter_mut().filter(|values| values.phase == Phase::Proposed) {
            self.shape_values(&request.resource_type, existing, values);
        }
        Ok(Some(shaped))
    }

    fn shape_values(&self, resource_type: &ResourceType, existing: Option<&PhaseValues>, values: &mut PhaseValues) {
        for (index, (subject, value)) in resource_type.subjects.iter().zip(&mut values.values).enumerate() {
            if !self.hides(subject) {
                continue;
            }
            values.missing_parts.retain(|(attribute, _)| *attribute != subject.attribute);
            let stored = existing.and_then(|existing| existing.values.get(index)).cloned().flatten();
            // Whether it identifies the resource is not known: then the API may write what is proposed, so that counts
            // where a stored value would otherwise stand in for it.
            let is_unclear = subject.is_identity.is_none() && existing.is_some();
            let proposed = value.take().filter(|_| is_unclear);
            *value = proposed.or(stored);
        }
    }

    fn hides(&self, subject: &Subject) -> bool {
        let extensions = self.settings.extensions.as_deref();
        subject.is_identity != Some(true) && subject.paths().any(|path| self.members.hides(path, extensions))
    }

    /// The first member that the profile hides and no resource is created without.
    fn hidden_required<'t>(&self, resource_type: &'t ResourceType) -> Option<&'t Arc<str>> {
        let resource = resource_type.member_name();
        resource_type.required_members.iter().find(|member| self.members.hides_member(member, &resource))
    }

    fn data_policy(&self, member: &str) -> Refusal {
        let message = format!("the profile hides the member `{member}`, without which the resource cannot be created");
        let (outcome, code) = (Outcome::Forbidden, "PROFILE_DATA_POLICY");
        Refusal { outcome, code, template: None, message: message.into(), details: Details::new() }
            .with("profile", &self.profile.name)
            .with("usage", self.usage.name())
    }

    /// The obligation to apply the profile: `profile`, `resource`, `usage`, `media_type`, `members`, and `identity`, the
    /// paths of members that are known to identify the resource and so stay whatever the profile says.
    pub(in crate::domain) fn obligation(&self, resource_type: &ResourceType) -> Obligation {
        let resource = resource_type.member_name();
        let media_type = media_type::write(self.settings, &resource, &self.profile.name, self.usage);
        let identity = resource_type.subjects.iter().filter(|subject| subject.is_identity == Some(true));
        let identity = identity.flat_map(Subject::paths).map(|path| Value::String(Arc::clone(path))).collect();
        let parameters: Attributes = [
            ("profile".into(), Value::String(Arc::clone(&self.profile.name))),
            ("resource".into(), Value::String(resource.into())),
            ("usage".into(), Value::String(self.usage.name().into())),
            ("media_type".into(), Value::String(media_type.into())),
            ("members".into(), Value::Record(self.members.parameters())),
            ("identity".into(), Value::List(identity)),
        ]
        .into_iter()
        .collect();
        Obligation { id: "apply_profile".into(), parameters }
    }
}
