//! The words of the interface as those of the realm.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{
    ACCESS_TOKEN,
    read::{Action, Entity, Object},
};
use crate::{
    app::credentials::{Credentials, NamedSubject, Secret},
    domain::{
        access_request::Question,
        json_value::{attributes, value},
        realm_file::{AuthzenSettings, SubjectSource},
        value::{Attributes, Value},
    },
};

/// Who asks: the subject by the caller's word, or the token that comes with it.
pub(super) fn credentials(settings: &AuthzenSettings, subject: &Entity, context: &Object) -> Credentials {
    let token = context.get(ACCESS_TOKEN).and_then(Json::as_str);
    let token = token.filter(|_| settings.subject != SubjectSource::Named).unwrap_or_default();
    let subject = NamedSubject {
        subject_type: Arc::clone(&subject.kind),
        id: Arc::clone(&subject.id),
        claims: subject.properties.clone().unwrap_or_default(),
    };
    Credentials { token: Secret(token.into()), subject: Some(Arc::new(subject)), ..Credentials::default() }
}

/// The question about this resource. Without an action it is about none yet.
pub(super) fn question(settings: &AuthzenSettings, action: &Action, resource: &Entity, context: &Object) -> Question {
    let Entity { kind, id, properties } = resource;
    let (resource_type, id_property) = settings.resource_type(kind);
    let mut values = properties.as_ref().map(attributes);
    if let Some(property) = id_property {
        let own = (Arc::clone(property), Value::String(Arc::clone(id)));
        values = Some(with(&values.unwrap_or_default(), own));
    }
    Question {
        action: settings.action(&action.name).into(),
        resource_type: resource_type.into(),
        resource_id: Arc::clone(id),
        attributes: values,
        context: members(settings, action, context),
        ..Question::default()
    }
}

/// The members of the context, with the properties of the action that the realm wants there. A member of the name of such a
/// property counts as the action's alone.
fn members(settings: &AuthzenSettings, action: &Action, context: &Object) -> Attributes {
    let is_actions = |name: &str| settings.action_properties.iter().any(|property| **property == *name);
    let own = context.iter().filter(|(name, _)| !is_actions(name) && *name != ACCESS_TOKEN);
    let of_action = action.properties.iter().filter(|(name, value)| is_actions(name) && !value.is_null());
    own.chain(of_action).map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

fn with(values: &Attributes, own: (Arc<str>, Value)) -> Attributes {
    let values = values.iter().map(|(name, value)| (Arc::clone(name), value.clone()));
    // Of a name that comes twice, the last value stays.
    values.chain([own]).collect()
}
