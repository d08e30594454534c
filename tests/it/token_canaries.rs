//! Tokens and proofs, good and bad, wherever they can come: in no answer, no error, no log and no file.

use hallpass::proto::v1 as pb;

use crate::applications::files_with;
use crate::support::{Home, REALM, reading_student};

/// What stands in every token, proof and certificate here that is none of its issuer's.
const CANARY: &str = "canary-3f9a7c51";

/// A question with these credentials.
fn with(token: &str, scheme: &str, query_token: &str, proof: Option<pb::TokenProof>) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest {
        token_scheme: scheme.to_owned(),
        query_token: query_token.to_owned(),
        proof,
        ..reading_student(token, "1")
    }
}

fn proof(text: &str) -> pb::TokenProof {
    pb::TokenProof {
        method: CANARY.to_owned(),
        uri: format!("https://api.example/{CANARY}?access_token={CANARY}"),
        dpop: vec![text.to_owned(), CANARY.to_owned()],
        client_certificate: CANARY.as_bytes().to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_or_proof_is_ever_written_or_shown() {
    let mut home = Home::new();
    home.copy_rules();
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let mut service = home.start().await;
    let good = home.token("SISVendor", &[100]);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    let changed = format!("{header}.{payload}.{CANARY}");
    let shortened = format!("{header}.{CANARY}.{signature}");
    let opaque = format!("{CANARY}-opaque");
    let mut questions = vec![
        with(&good, "", "", None),
        with(&good, "Bearer", "", Some(proof(&good))),
        with(&good, "DPoP", "", Some(proof(&good))),
        with("", "", &good, None),
        with(&good, "", &good, Some(proof(CANARY))),
        with("", "", "", Some(proof(CANARY))),
    ];
    questions.extend([&changed, &shortened, &opaque].map(|token| with(token, CANARY, "", Some(proof(token)))));
    questions.push(with(&CANARY.repeat(2_000), "", "", None));
    let mut said = Vec::new();
    for question in questions {
        let nowhere = pb::AuthorizeRequest { realm: String::new(), ..question.clone() };
        for asked in [question, nowhere] {
            said.push(format!("{:?}", service.authorization().authorize(asked.clone()).await));
            let info = pb::GetTokenInfoRequest {
                realm: REALM.to_owned(),
                token: asked.token,
                token_scheme: asked.token_scheme,
                query_token: asked.query_token,
                proof: asked.proof,
            };
            said.push(format!("{:?}", service.authorization().get_token_info(info).await));
        }
    }
    let kept = format!("{:?}", service.decisions_after(0).await);
    assert!(kept.contains("TOKEN_AMBIGUOUS"), "what was refused is on record");
    said.push(kept);
    let said = said.concat();
    for code in [
        "RELATIONSHIP_MISSING",
        "TOKEN_AMBIGUOUS",
        "TOKEN_MISSING",
        "TOKEN_FORMAT",
        "TOKEN_TOO_LARGE",
        "TOKEN_SCHEME_MISMATCH",
    ] {
        assert!(said.contains(code), "nothing was refused as {code}");
    }
    let canaries = [CANARY, payload, signature];
    let shown: Vec<_> = canaries.into_iter().filter(|canary| said.contains(canary)).collect();
    assert!(shown.is_empty(), "{shown:?} in an answer");
    service.signal("TERM");
    assert!(service.ended().await.success());
    assert_eq!(files_with(home.path("").as_path(), &canaries), Vec::<String>::new());
}
