//! The realm of these tests, its records, and how it is asked.

use std::{fs, path::Path};

use hallpass::proto::v1 as pb;
use reqwest::{RequestBuilder, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value as Json, json};

use crate::{
    support::{Home, REALM as REALM_NAME, Service},
    token_info::{client, home},
};

const REALM: &str = r#"
title = "A library"
[principal]
entity = "reader"
id = "sub"
parents = ["roles"]
[principal.attributes.roles]
claim = "role"
[trusted]
book = ["lent", "place", "shelf"]
context = ["hour", "quietly"]
[obligations.stamp.constants]
colour = "blue"
[authzen]
SUBJECT
subjects = ["reader", "visitor"]
action_properties = ["quietly"]
page_size = 50
[authzen.actions]
view = "look"
[authzen.resource_types]
"printed book" = "book"
"#;

const SCHEMA: &str = r"
entity role;
entity branch;
entity shelf;
entity reader in [role, branch] { roles: Set<role> };
entity book in [branch, shelf] {
    branch: branch,
    shelf?: shelf,
    lent?: Bool,
    place?: { room: String },
};
entity leaflet;
action look, read_aloud, borrow, burn appliesTo {
    principal: [reader],
    resource: [book],
    context: { hour?: Long, quietly?: Bool },
};
action take, throw_away appliesTo { principal: [reader], resource: [leaflet] };
";

const RULES: &str = r#"
@id("readers-look") @title("readers of a branch look at its books")
permit (principal, action == Action::"look", resource is book) when { principal in resource.branch };
@id("aloud") @title("quiet readers read aloud")
permit (principal, action == Action::"read_aloud", resource is book)
when { principal in resource.branch && context has quietly && context.quietly };
@id("borrow") @title("readers borrow what is open") @obligation("stamp")
@reason("NOT_OPEN") @message("The book is not on an open shelf.")
permit (principal, action == Action::"borrow", resource is book)
when { principal in resource.branch && resource has shelf && resource.shelf == shelf::"open" };
@id("burn") @title("nobody burns but the keeper of the archive, in room zero")
permit (principal in role::"keeper", action == Action::"burn", resource is book)
when { resource has place && resource.place.room == "zero" && resource has lent && !resource.lent };
@id("take") @title("who is known takes leaflets") @accept("unconditional-permit: they are free")
permit (principal, action in [Action::"take", Action::"throw_away"], resource is leaflet);
"#;

const RELATIONS: &str = r#"
[entities.reader]
person = true
[relations.reads_at]
subject = "reader"
object = "branch"
[relations.has_role]
subject = "reader"
object = "role"
[relations.stands_in]
subject = "book"
object = "branch"
[relations.stands_on]
subject = "book"
object = "shelf"
[items.book]
entity = "book"
values = { branch = "stands_in", shelf = "stands_on" }
[[records]]
resource = "readers"
key = ["id"]
[[records.relationships]]
relation = "reads_at"
subject = "id"
object = "branches"
optional = true
[[records.relationships]]
relation = "has_role"
subject = "id"
object = "role"
optional = true
[[records]]
resource = "books"
key = ["id"]
[[records.relationships]]
relation = "stands_in"
subject = "id"
object = "branch"
[[records.relationships]]
relation = "stands_on"
subject = "id"
object = "shelf"
optional = true
"#;

/// The library at work.
pub(super) struct Library {
    pub(super) home: Home,
    pub(super) service: Service,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Told {
    pub(super) fn json(&self) -> Json {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert!(self.headers[CONTENT_TYPE].to_str().unwrap().starts_with("application/json"), "{self:?}");
        self.text.parse().unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(super) fn decision(&self) -> bool {
        self.json()["decision"].as_bool().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The ids or names that a search found, sorted.
    pub(super) fn found(&self) -> Vec<String> {
        let json = self.json();
        let name =
            |result: &Json| result.get("id").or_else(|| result.get("name")).unwrap().as_str().unwrap().to_owned();
        let mut found: Vec<String> = json["results"].as_array().unwrap().iter().map(name).collect();
        found.sort();
        found
    }

    pub(super) fn next_token(&self) -> String {
        self.json()["page"]["next_token"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

/// Writes the realm's files.
pub(super) fn write_realm(folder: &Path, subject: &str) {
    fs::create_dir_all(folder).unwrap();
    let files = [
        ("realm.toml", REALM.replace("SUBJECT", subject)),
        ("schema.cedarschema", SCHEMA.to_owned()),
        ("rules.cedar", RULES.to_owned()),
        ("relations.toml", RELATIONS.to_owned()),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
}

impl Library {
    /// Whose subjects are named by the caller, with what it says of their role.
    pub(super) async fn start() -> Self {
        Self::start_with("subject_properties = [\"role\"]").await
    }

    /// With these keys in `[authzen]`.
    pub(super) async fn start_with(subject: &str) -> Self {
        Self::start_in(home(), subject).await
    }

    /// The same, in a folder with a configuration of its own.
    pub(super) async fn start_in(mut home: Home, subject: &str) -> Self {
        home.rules = home.path("library");
        write_realm(&home.rules, subject);
        let service = home.start().await;
        let readers = [
            json!({ "id": "ana", "branches": ["north"] }),
            json!({ "id": "bob", "branches": ["north", "south"], "role": "keeper" }),
            json!({ "id": "cid", "branches": ["south"] }),
            json!({ "id": "dot" }),
        ];
        let books = [
            json!({ "id": "n-1", "branch": "north", "shelf": "open" }),
            json!({ "id": "n-2", "branch": "north", "shelf": "closed" }),
            json!({ "id": "s-1", "branch": "south" }),
        ];
        service.import("readers", &readers.map(|it| it.to_string())).await;
        service.import("books", &books.map(|it| it.to_string())).await;
        Self { home, service }
    }

    /// A request to a path behind the realm's base.
    pub(super) fn request(&self, path: &str) -> RequestBuilder {
        self.at(&format!("/edfi/access/v1/{path}"))
    }

    pub(super) fn at(&self, path: &str) -> RequestBuilder {
        client().post(format!("{}{path}", self.service.http.as_ref().unwrap())).header(CONTENT_TYPE, "application/json")
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Told {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Told { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) async fn ask(&self, path: &str, body: &Json) -> Told {
        self.send(self.request(path).body(body.to_string())).await
    }

    /// The record of a decision.
    pub(super) async fn record(&self, decision_id: &Json) -> pb::DecisionRecord {
        let decision_id = decision_id.as_str().unwrap().to_owned();
        let request = pb::GetDecisionRequest { realm: REALM_NAME.to_owned(), decision_id };
        self.service.decisions().get_decision(request).await.unwrap().into_inner().decision.unwrap()
    }

    /// The newest records of questions that came by AuthZEN.
    pub(super) async fn records(&self) -> Vec<pb::DecisionRecord> {
        let request =
            pb::QueryDecisionsRequest { realm: REALM_NAME.to_owned(), page_size: 1_000, ..Default::default() };
        let decisions = self.service.decisions().query_decisions(request).await.unwrap().into_inner().decisions;
        decisions.into_iter().filter(|record| record.adapter == "authzen").collect()
    }

    pub(super) async fn decide(&self, body: &Json) -> bool {
        self.ask("evaluation", body).await.decision()
    }
}

/// A question of a reader about a book.
pub(super) fn question(reader: &str, action: &str, book: &str) -> Json {
    json!({
        "subject": { "type": "reader", "id": reader },
        "action": { "name": action },
        "resource": { "type": "book", "id": book },
    })
}

/// A question with a member set, found by its JSON pointer's parent.
pub(super) fn with(mut question: Json, parent: &str, name: &str, value: Json) -> Json {
    question.pointer_mut(parent).unwrap()[name] = value;
    question
}
