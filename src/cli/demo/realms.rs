//! What the demo asks of realms that bring a `demo.yaml`: a few records, and questions as that system would ask them.
//!
//! ```yaml
//! story: A todo list knows its owners            # the heading
//! issuer: https://login.todo.example             # the tokens' issuer; left out: one of the demo's own
//! scheme: Bearer                                 # the word that its tokens come with; left out: Bearer
//! records:                                       # as they are imported, by resource
//!   users: [{ id: u-1, email: ben@todo.example }]
//! questions:
//!   - ask: May Ben update a todo of his own?
//!     because: the store knows his e-mail address
//!     claims: { sub: u-1 }                       # beside iss, iat and exp
//!     action: can_update_todo
//!     resource: { type: todo, id: todo-1, attributes: { ownerID: ben@todo.example } }   # and proposed
//!     context: {}
//!     supports: []                               # the obligations that the asking system fulfils
//! ```

use std::{collections::BTreeMap, fmt::Write as _, io::Write};

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use tonic::transport::Channel;

use super::{heading, print_answer};
use crate::{
    cli::parse::{Named, wire_values},
    proto::v1::{
        AuthorizeRequest, ImportRecordsRequest, Resource, authorization_service_client::AuthorizationServiceClient,
        relationship_service_client::RelationshipServiceClient,
    },
    provider::signer::LocalKey,
};

/// The file of a realm's folder that the demo looks for.
const FILE: &str = "demo.yaml";

/// What is told of one realm.
#[derive(Debug)]
pub(super) struct Told {
    realm: String,
    script: Script,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    story: String,
    issuer: Option<String>,
    scheme: Option<String>,
    #[serde(default)]
    records: BTreeMap<String, Vec<Json>>,
    questions: Vec<Question>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    ask: String,
    because: String,
    claims: Map<String, Json>,
    action: String,
    resource: Item,
    #[serde(default)]
    context: Map<String, Json>,
    #[serde(default)]
    supports: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "type")]
    resource_type: String,
    #[serde(default)]
    id: String,
    attributes: Option<Map<String, Json>>,
    proposed: Option<Map<String, Json>>,
}

/// What there is to tell in folders of realms, by name. Files are named by realm and path: `todo/demo.yaml`.
///
/// # Errors
/// A file that is not as it should be.
pub(super) fn find(files: &[(&str, &str)]) -> Result<Vec<Told>> {
    let scripts = files.iter().filter_map(|(path, content)| {
        let (realm, path) = path.split_once('/')?;
        (path == FILE).then_some((realm, content))
    });
    let read = scripts.map(|(realm, content)| {
        let script = serde_saphyr::from_str(content);
        let script = script.map_err(|error| anyhow!("{realm}/{FILE} cannot be read: {error}"))?;
        Ok(Told { realm: realm.to_owned(), script })
    });
    read.collect()
}

impl Told {
    fn issuer(&self) -> String {
        self.script.issuer.clone().unwrap_or_else(|| format!("https://idp.{}.example", self.realm))
    }

    fn scheme(&self) -> &str {
        self.script.scheme.as_deref().unwrap_or("Bearer")
    }

    /// The realm's tables in the service's configuration.
    pub(super) fn configuration(&self) -> String {
        let (realm, issuer, scheme) = (&self.realm, json!(self.issuer()), json!(self.scheme()));
        let mut toml = String::new();
        // Writing to a String cannot fail.
        let _infallible = write!(
            toml,
            "[realms.{realm}]\nfolder = \"policies/{realm}\"\n[[realms.{realm}.issuers]]\nissuer = {issuer}\n\
             audiences = []\nalgorithms = [\"EdDSA\"]\nscheme = {scheme}\nkeys = {{ file = \"issuer.jwks.json\" }}\n"
        );
        toml
    }

    /// Brings the records, asks the questions and shows the answers.
    ///
    /// # Errors
    /// Records or questions that the realm does not take.
    pub(super) async fn tell(
        &self,
        (key, now_seconds): (&LocalKey, i64),
        channel: &Channel,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        self.import(channel).await.with_context(|| format!("the records of {}/{FILE}", self.realm))?;
        heading(out, &self.script.story)?;
        for question in &self.script.questions {
            let request = self.request(question, key, now_seconds)?;
            let answer = AuthorizationServiceClient::new(channel.clone()).authorize(request).await;
            let answer = answer.with_context(|| format!("{}/{FILE}: {}", self.realm, question.ask))?.into_inner();
            writeln!(out, "     {}", question.ask)?;
            print_answer(out, &answer, &question.because)?;
        }
        Ok(())
    }

    async fn import(&self, channel: &Channel) -> Result<()> {
        let messages = self.script.records.iter().map(|(resource, records)| ImportRecordsRequest {
            realm: self.realm.clone(),
            resource: resource.clone(),
            records: records.iter().map(Json::to_string).collect(),
        });
        let messages: Vec<_> = messages.collect();
        if messages.is_empty() {
            return Ok(());
        }
        let mut client = RelationshipServiceClient::new(channel.clone());
        let imported = client.import_records(tokio_stream::iter(messages)).await?.into_inner();
        match imported.refusals.first() {
            Some(refusal) => Err(anyhow!("{}, record {}: {}", refusal.resource, refusal.index, refusal.reason)),
            None if imported.skipped > 0 => Err(anyhow!("the realm keeps nothing of some of them")),
            None => Ok(()),
        }
    }

    fn request(&self, question: &Question, key: &LocalKey, now_seconds: i64) -> Result<AuthorizeRequest> {
        let Question { claims, action, resource, context, supports, .. } = question;
        let mut signed = Map::new();
        signed.insert("iss".to_owned(), json!(self.issuer()));
        signed.insert("iat".to_owned(), json!(now_seconds));
        signed.insert("exp".to_owned(), json!(now_seconds + 600));
        signed.extend(claims.clone());
        let Item { resource_type, id, attributes, proposed } = resource;
        let (has_attributes, has_proposed) = (attributes.is_some(), proposed.is_some());
        let resource = Resource {
            r#type: resource_type.clone(),
            id: id.clone(),
            attributes: wire_values(named(attributes.as_ref()))?,
            proposed: wire_values(named(proposed.as_ref()))?,
            has_attributes,
            has_proposed,
        };
        Ok(AuthorizeRequest {
            realm: self.realm.clone(),
            token: key.sign(&Json::Object(signed))?,
            token_scheme: self.scheme().to_owned(),
            action: action.clone(),
            resource: Some(resource),
            context: wire_values(named(Some(context)))?,
            supported_obligations: supports.clone(),
            ..AuthorizeRequest::default()
        })
    }
}

fn named(values: Option<&Map<String, Json>>) -> Vec<Named> {
    let values = values.into_iter().flatten();
    values.map(|(name, value)| Named { name: name.clone(), value: value.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TemporaryFolder, configure},
        *,
    };
    use crate::{app::ports::Clock as _, provider::clock::SystemClock, server};

    const REALM: &str = "title = \"Library\"\n[principal]\nentity = \"Reader\"\nid = \"sub\"\n";
    const RELATIONS: &str = "[relations.lent_to]\nsubject = \"Reader\"\nobject = \"Card\"\n\
        [[records]]\nresource = \"cards\"\nkey = [\"reader\"]\n\
        [[records.relationships]]\nrelation = \"lent_to\"\nsubject = \"reader\"\nobject = \"card\"\n";
    const SCHEMA: &str = "entity Card; entity Reader in [Card]; entity Book;\n\
        action Lend appliesTo { principal: [Reader], resource: [Book] };";
    const POLICY: &str = "@id(\"card\") @title(\"who has a card borrows\")\n\
        permit (principal in Card::\"yellow\", action, resource);";
    const SCRIPT: &str = "story: A library lends books\nrecords: { cards: [{ reader: r-1, card: yellow }] }\n\
        questions:\n\
        - { ask: 'May r-1 borrow?', because: it has a card, claims: { sub: r-1 }, action: Lend, resource: { type: Book, id: b } }\n\
        - { ask: 'May r-2 borrow?', because: it has none, claims: { sub: r-2 }, action: Lend, resource: { type: Book, id: b } }\n";

    fn files(script: &str) -> Vec<(&'static str, String)> {
        let files = [
            ("library/realm.toml", REALM),
            ("library/relations.toml", RELATIONS),
            ("library/schema.cedarschema", SCHEMA),
            ("library/rules.cedar", POLICY),
            ("library/demo.yaml", script),
            ("other/realm.toml", "title = \"Never read\""),
        ];
        files.map(|(path, content)| (path, content.to_owned())).to_vec()
    }

    async fn told(script: &str) -> Result<String> {
        let files = files(script);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (*path, content.as_str())).collect();
        let told = find(&files)?;
        let (folder, key) = (TemporaryFolder::new()?, LocalKey::generate()?);
        let tables: String = told.iter().map(Told::configuration).collect();
        let running = server::start(configure(&folder.0, &key, &files, &tables)?).await?;
        let channel = Channel::from_shared(format!("http://{}", running.grpc_address()))?.connect().await?;
        let mut out = Vec::new();
        for told in &told {
            told.tell((&key, SystemClock.now_seconds()), &channel, &mut out).await?;
        }
        running.stop().await?;
        Ok(String::from_utf8(out)?)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_realm_that_brings_a_demo_is_asked_as_its_system_would() {
        let shown = told(SCRIPT).await.unwrap();
        assert_eq!(
            shown,
            "A library lends books\n---------------------\n     May r-1 borrow?\n     YES  it has a card\n\
             \u{20}         PERMITTED: who has a card borrows [policy card]\n\n     May r-2 borrow?\n     NO   it has none\n\
             \u{20}         NO_POLICY_PERMITS: no policy of this realm permits this action on this resource\n\n"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_demo_gets_wrong_is_told_with_its_file() {
        for (script, expected) in [
            (SCRIPT.replace("story:", "title:"), "library/demo.yaml cannot be read"),
            (SCRIPT.replace("cards:", "tickets:"), "the records of library/demo.yaml: the realm keeps nothing"),
            (
                SCRIPT.replace("card: yellow", "colour: yellow"),
                "the records of library/demo.yaml: cards, record 0: `card`",
            ),
            (SCRIPT.replace("Lend", "Burn"), "library/demo.yaml: May r-1 borrow?: "),
        ] {
            let error = format!("{:#}", told(&script).await.unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
