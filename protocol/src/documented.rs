//! The examples in `docs/protocol.md` are what the types read and write.

use ruma::{
    api::{
        IncomingRequest, IncomingResponse, Metadata, OutgoingRequest, OutgoingResponse,
        auth_scheme::{AccessToken, SendAccessToken},
        path_builder::SinglePath,
    },
    exports::http,
};
use serde_json::{Value, json};

use crate::{
    api::*,
    events::{Answer, Checkin, Document, MESSAGE, Outgoing, POLL_START, SafetyPlan},
};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The examples with these words after `json`.
fn examples(name: &str) -> Vec<Value> {
    let fenced = PAGE
        .split("\n```json ")
        .skip(1)
        .map(|rest| rest.split_once("\n```").unwrap().0);
    fenced
        .filter_map(|block| block.split_once('\n'))
        .filter(|(info, _)| *info == name)
        .map(|(_, text)| serde_json::from_str(text).unwrap())
        .collect()
}

fn example(name: &str) -> Value {
    let [example] = &examples(name)[..] else {
        panic!("not one example of {name}")
    };
    example.clone()
}

#[test]
fn blocks_are_written_as_documented() {
    let checkins = examples("checkin");
    assert_eq!(checkins.len(), 3);
    for content in checkins.clone() {
        let is_poll = content.get(POLL_START).is_some();
        let event_type = if is_poll { POLL_START } else { MESSAGE };
        let checkin = Checkin::from_content(event_type, &content).unwrap();
        assert_eq!(
            checkin.to_message(),
            Ok(Outgoing {
                event_type,
                content
            })
        );
    }
    let answers = examples("answer");
    assert_eq!(answers.len(), 2);
    for content in answers {
        let event_id = content["m.relates_to"]["event_id"].as_str().unwrap();
        let answer = Answer::from_content(MESSAGE, &content).unwrap();
        let asked = checkins.iter().find_map(|asked| {
            let read = Checkin::from_content(MESSAGE, asked);
            read.or_else(|| Checkin::from_content(POLL_START, asked))
                .filter(|asked| asked.id == answer.checkin)
        });
        let event_id = event_id.try_into().unwrap();
        let sent = answer.to_message(&asked.unwrap(), Some(event_id)).unwrap();
        assert_eq!(sent.content, content);
    }
    let content = example("safety_plan");
    let plan = SafetyPlan::from_content(MESSAGE, &content).unwrap();
    assert_eq!(plan.to_message().unwrap().content, content);
    let content = example("document");
    let document = Document::from_content(MESSAGE, &content).unwrap();
    assert_eq!(document.to_message().unwrap().content, content);
}

#[test]
fn the_capability_is_as_documented() {
    let entry = example("capability");
    let read: capability::TherapyCapability = serde_json::from_value(entry.clone()).unwrap();
    assert_eq!(json!(read), entry);
}

/// Reads a documented response as a client and writes it again as a server.
fn response<R: IncomingResponse + OutgoingResponse>(name: &str) {
    let documented = example(&format!("{name} response"));
    let http = http::Response::new(serde_json::to_vec(&documented).unwrap());
    let Ok(read) = R::try_from_http_response(http) else {
        panic!("{name}: unreadable")
    };
    let written = read.try_into_http_response::<Vec<u8>>().unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(written.body()).unwrap(),
        documented,
        "{name}"
    );
}

/// Reads a documented request as a server and writes it again as a client.
fn request<R>(name: &str, path: &[&str])
where
    R: IncomingRequest
        + OutgoingRequest
        + Metadata<Authentication = AccessToken, PathBuilder = SinglePath>,
{
    let documented = example(&format!("{name} request"));
    let body = serde_json::to_vec(&documented).unwrap();
    let http = http::Request::builder()
        .method(R::METHOD)
        .body(body)
        .unwrap();
    let Ok(read) = R::try_from_http_request(http, path) else {
        panic!("{name}: unreadable")
    };
    let token = SendAccessToken::IfRequired("token");
    let written = read
        .try_into_http_request::<Vec<u8>>("https://x.example", token, ())
        .unwrap();
    assert!(
        written
            .uri()
            .path()
            .starts_with("/_matrix/client/unstable/chat.respite/")
    );
    assert_eq!(
        serde_json::from_slice::<Value>(written.body()).unwrap(),
        documented,
        "{name}"
    );
}

#[test]
fn responses_are_as_documented() {
    response::<create_room::Response>("create_room");
    response::<create_invite::Response>("create_invite");
    response::<list_invites::Response>("list_invites");
    response::<revoke_invite::Response>("revoke_invite");
    response::<schedule_prompt::Response>("schedule_prompt");
    response::<list_prompts::Response>("list_prompts");
    response::<postpone_prompt::Response>("postpone_prompt");
    response::<cancel_prompt::Response>("cancel_prompt");
    response::<upload_document::Response>("upload_document");
    response::<list_documents::Response>("list_documents");
    response::<delete_document::Response>("delete_document");
}

#[test]
fn requests_are_as_documented() {
    let room = "!AbCdEfGhIjKlMnOpQr:respite.example";
    request::<create_room::Request>("create_room", &[]);
    request::<create_invite::Request>("create_invite", &[]);
    request::<schedule_prompt::Request>("schedule_prompt", &[room, "t1"]);
    request::<postpone_prompt::Request>("postpone_prompt", &["p9XcVb"]);
}
