//! What callers send over gRPC.

use std::sync::LazyLock;

use hallpass::proto::FILE_DESCRIPTOR_SET;
use hallpass::proto::v1::{self as pb, value::Kind};
use prost::Message as _;
use prost_types::{FieldDescriptorProto, FileDescriptorSet};

use super::world::{self, ASKED, Answered, CHANGED, World};

/// What would take as long as somebody listens, or a realm's compilation each time; `realm_files` enters the latter.
const LEFT_OUT: [&str; 4] = ["TailDecisions", "ReloadPolicies", "RollbackPolicies", "ResumePolicies"];

/// A call of the service, and bytes that put the realm into its message: what comes last of a field counts.
pub(super) struct Call {
    pub(super) path: String,
    realm: Vec<u8>,
}

impl Call {
    /// Its name, which no other has.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// All calls of the service but those that are left out, in the order of their names.
pub(super) static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
    let known = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let files = || known.file.iter().filter(|file| file.package() == "hallpass.v1");
    let first_field = |message: &str| {
        let name = message.trim_start_matches(".hallpass.v1.");
        let message = files().flat_map(|file| &file.message_type).find(|known| known.name() == name)?;
        message.field.iter().find(|field| field.number() == 1)
    };
    let mut found = Vec::new();
    for service in files().flat_map(|file| &file.service) {
        for call in service.method.iter().filter(|call| !LEFT_OUT.contains(&call.name())) {
            let field = first_field(call.input_type());
            let inner = field.and_then(|field| first_field(field.type_name()));
            let is_realm = |field: Option<&FieldDescriptorProto>| field.is_some_and(|field| field.name() == "realm");
            let text = pb::GetRevisionRequest { realm: CHANGED.to_owned() }.encode_to_vec();
            let realm = match (is_realm(field), is_realm(inner)) {
                (true, _) => text,
                // Field 1 is a message of so many bytes.
                (false, true) => [&[0x0a, u8::try_from(text.len()).expect("a short name")][..], &text].concat(),
                (false, false) => Vec::new(),
            };
            found.push(Call { path: format!("/hallpass.v1.{}/{}", service.name(), call.name()), realm });
        }
    }
    found.sort_by(|a: &Call, b: &Call| a.name().cmp(b.name()));
    found
});

const AUTHORIZE: &str = "/hallpass.v1.AuthorizationService/Authorize";

/// Reads the first byte as a call and the others as its message, and makes it: with the realm that may be changed, and for a
/// question with a good token, so that it is decided. Whatever comes is answered, and not by a failure of our own.
pub(crate) fn proto_conversion(bytes: &[u8]) {
    let Some((call, message)) = bytes.split_first() else { return };
    let Call { path, realm } = &CALLS[usize::from(*call) % CALLS.len()];
    world::with(|world| {
        if path == AUTHORIZE {
            return authorize(world, message);
        }
        let token = match &**path {
            "/hallpass.v1.AuthorizationService/SearchResources" => {
                pb::SearchResourcesRequest { token: world.token.clone(), ..Default::default() }.encode_to_vec()
            }
            _ => Vec::new(),
        };
        check(path, &world.call(path, &[message, realm, &token].concat()));
    });
}

/// Neither UNKNOWN nor INTERNAL nor `DATA_LOSS`: whatever a caller sends, we know what it is.
fn check(path: &str, answered: &Answered) {
    assert!(![2, 13, 15].contains(&answered.code), "{path}: {answered:?}");
}

/// Asks twice: the answer is the same, and an allow is one that the realm's rules give.
fn authorize(world: &mut World, message: &[u8]) {
    let Ok(mut question) = pb::AuthorizeRequest::decode(message) else {
        return check(AUTHORIZE, &world.call(AUTHORIZE, message));
    };
    ASKED.clone_into(&mut question.realm);
    if question.token.is_empty() && question.query_token.is_empty() {
        question.token.clone_from(&world.token);
    }
    // It would wait for what never comes.
    question.at_least_revision = question.at_least_revision.min(1);
    let bytes = question.encode_to_vec();
    let decided = [(); 2].map(|()| {
        let answered = world.call(AUTHORIZE, &bytes);
        check(AUTHORIZE, &answered);
        let message = answered.messages.first()?;
        let answer = pb::AuthorizeResponse::decode(&message[..]).expect("an answer");
        Some((answer.decision(), answer.outcome(), answer.reasons, answer.denial))
    });
    // A question that has used up its proof is no longer the same.
    if question.proof.is_none() {
        assert_eq!(decided[0], decided[1], "the same question was answered twice: {question:?}");
    }
    for (decision, ..) in decided.into_iter().flatten() {
        assert!(decision != pb::Decision::Allow || is_allowed(&question), "allowed: {question:?}");
    }
}

/// The realm's rules once more, by other means: reading and updating the file of a student of the school, if it is neither
/// large nor secret, now and, for an update, then.
fn is_allowed(question: &pb::AuthorizeRequest) -> bool {
    let Some(resource) = &question.resource else { return false };
    let is_good = |values: &std::collections::HashMap<String, pb::Value>| {
        let is_ada = match values.get("student").and_then(|value| value.kind.as_ref()) {
            Some(Kind::StringValue(id)) => id == "ada",
            Some(Kind::EntityValue(entity)) => entity.id == "ada",
            _ => false,
        };
        let is_small = match values.get("size").and_then(|value| value.kind.as_ref()) {
            Some(Kind::IntValue(size)) => *size <= 1000,
            Some(Kind::StringValue(size)) => size.parse::<i64>().is_ok_and(|size| size <= 1000),
            _ => true,
        };
        let is_secret = match values.get("tags").and_then(|value| value.kind.as_ref()) {
            Some(Kind::ListValue(tags)) => {
                tags.values.iter().any(|tag| tag.kind == Some(Kind::StringValue("secret".to_owned())))
            }
            _ => false,
        };
        is_ada && is_small && !is_secret
    };
    let is_known = resource.r#type == "File" && is_good(&resource.attributes);
    match &*question.action {
        "Read" => is_known,
        "Update" => is_known && (!resource.has_proposed && resource.proposed.is_empty() || is_good(&resource.proposed)),
        _ => false,
    }
}
