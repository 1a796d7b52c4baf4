//! Canaries: a marker in every field that a person can fill, through every client; then everything that the server has
//! written or answered is searched for it.
//!
//! The documented exceptions are user names and display names: pseudonyms that people are told to choose.

use anyhow::{Context, Result, bail, ensure};
use matrix_sdk::{
    attachment::AttachmentConfig,
    ruma::{
        events::{
            reaction::ReactionEventContent,
            relation::Annotation,
            room::message::{LocationMessageEventContent, MessageType, RoomMessageEventContent},
            tag::{TagInfo, TagName},
        },
        mxc_uri,
        serde::Raw as RawJson,
    },
};
use respite::accounts;
use respite_tests::{
    canary::Canary,
    person::{Person, pair_at},
    place::{Place, Program},
    raw::{Raw, THERAPY, encrypted_bytes, in_query, megolm},
    wiretap::Wiretap,
};
use ruma::{RoomAliasId, RoomId};
use serde_json::json;

use crate::program::desks;

/// The marker as one word, and with a space in it: what takes names may refuse only one of them.
const GAPS: [&str; 2] = ["", " "];

/// A real server at its loudest, behind a wire that hears everything.
struct Watched {
    place: Place,
    server: Program,
    wire: Wiretap,
    code: String,
    canary: Canary,
}

impl Watched {
    async fn open() -> Result<Self> {
        let place = Place::new("[log]\nlevel = \"debug\"\n[limits]\nlookups = 100000\n")?;
        let server = place.serve().await?;
        let wire = Wiretap::lay(&server.url).await?;
        let code = server.first_code.clone().context("no code")?;
        Ok(Self {
            place,
            server,
            wire,
            code,
            canary: Canary::new(),
        })
    }

    /// The marker, and the field that it is put into.
    fn word(&self, gap: &str, field: &str) -> String {
        format!("{}{gap}{field}", self.canary.text())
    }

    /// Whether clients have sent this in the clear.
    fn was_sent(&self, text: &str) -> bool {
        self.wire.asked().iter().any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    /// Searches everything that the server has written and answered.
    async fn nothing_is_left(self) -> Result<()> {
        for answered in self.wire.answered() {
            ensure!(
                !self.canary.is_in(&answered),
                "an answer repeats it: {}",
                around(&answered, self.canary.text())
            );
        }
        let scan = self.place.run(&["scan"]).await?;
        ensure!(scan.code == Some(0), "{scan:?}");
        self.is_clean("while the server runs")?;
        self.server.stop().await?;
        Self::is_clean_in(&self.place, &self.canary, "after it has stopped")
    }

    fn is_clean(&self, when: &str) -> Result<()> {
        Self::is_clean_in(&self.place, &self.canary, when)
    }

    fn is_clean_in(place: &Place, canary: &Canary, when: &str) -> Result<()> {
        let log = place.log()?;
        ensure!(
            log.contains("serving") && log.lines().count() > 50,
            "the log is not at its loudest: {log}"
        );
        ensure!(
            !canary.is_in(log.as_bytes()),
            "the log says it: {}",
            around(log.as_bytes(), canary.text())
        );
        if let Some(path) = canary.search(&place.data())?.first() {
            let said = around(&std::fs::read(path)?, canary.text());
            bail!("{when}, it is in {}: {said}", path.display());
        }
        Ok(())
    }
}

/// What stands around a marker, for whoever has to find out where it came from.
fn around(bytes: &[u8], word: &str) -> String {
    let at = bytes
        .windows(word.len())
        .position(|window| window.eq_ignore_ascii_case(word.as_bytes()));
    let Some(at) = at else {
        return "in another encoding".to_owned();
    };
    let piece = bytes
        .get(at.saturating_sub(120)..(at + 120).min(bytes.len()))
        .unwrap_or_default();
    piece.escape_ascii().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thin_client_leaves_no_words_and_sends_none() -> Result<()> {
    let watched = Watched::open().await?;
    let (therapist, nurse) = desks(watched.wire.url(), &watched.code).await?;
    let word = |field: &str| watched.word(" ", field);
    nurse
        .answers(&["send", "therapist", &word("message")])
        .await?;
    let scale = format!("1-5:{}:{}", word("low"), word("high"));
    therapist
        .answers(&[
            "checkin",
            "ask",
            "nurse",
            "--text",
            &word("question"),
            "--scale",
            &scale,
        ])
        .await?;
    nurse
        .answers(&[
            "checkin",
            "answer",
            "therapist",
            "2",
            "--note",
            &word("note"),
        ])
        .await?;
    therapist
        .answers(&[
            "checkin",
            "ask",
            "nurse",
            "--text",
            &word("later"),
            "--at",
            "+1h",
            "--remind",
            "1h",
        ])
        .await?;
    let file = therapist.file(
        &format!("{}.txt", word("file")),
        word("content").repeat(100).as_bytes(),
    )?;
    let shared = therapist
        .answers(&[
            "doc",
            "share",
            "nurse",
            &file,
            "--title",
            &word("title"),
            "--consent",
        ])
        .await?;
    let id = shared["id"].as_str().context("no id")?;
    let back = nurse.file(&format!("{}.pdf", word("back")), word("filled").as_bytes())?;
    nurse
        .answers(&["doc", "return", "therapist", id, &back])
        .await?;
    nurse
        .told(
            &["recovery", "setup", "--password-stdin"],
            "sleeps by day\n",
        )
        .await?;
    nurse.runs(&["send", &word("nobody"), "hello"]).await?;
    let listed = nurse.says(&["doc", "list", "therapist"]).await?;
    ensure!(
        listed.len() == 2
            && listed
                .iter()
                .all(|line| watched.canary.is_in(line.to_string().as_bytes())),
        "{listed:?}"
    );
    for asked in watched.wire.asked() {
        ensure!(
            !watched.canary.is_in(&asked),
            "the client sends it: {}",
            around(&asked, watched.canary.text())
        );
    }
    watched.nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_leave_no_words_either() -> Result<()> {
    let watched = Watched::open().await?;
    let (therapist, nurse, room) = pair_at(watched.wire.url(), &watched.code).await?;
    accounts::bootstrap_cross_signing(&nurse.client, || Ok(nurse.password.clone().into())).await?;
    for gap in GAPS {
        encrypted(&watched, gap, &nurse, &room).await?;
        in_the_clear(&watched, gap, &nurse, &therapist, &room).await?;
        by_hand(&watched, gap, &nurse, &room).await?;
        out_of_a_room(&watched, gap, &therapist).await?;
        at_the_door(&watched, gap).await?;
    }
    therapist.hears(&room, &watched.word(" ", "text")).await?;
    let in_the_clear = [
        "topic",
        "name",
        "roomname",
        "roomtopic",
        "reaction",
        "tag",
        "keyword",
        "redaction",
        "report",
        "state",
        "upload",
        "accountdata",
        "device",
        "profile",
        "plain",
        "kick",
        "ban",
        "leave",
        "invite",
        "filter",
        "todevice",
        "search",
        "filename",
        "login",
        "password",
        "token",
        "path",
        "query",
        "code",
        "pusher",
        "thread",
        "alias",
        "transaction",
    ];
    for field in in_the_clear {
        ensure!(
            watched.was_sent(&watched.word("", field)),
            "no client has sent the field {field}"
        );
    }
    watched.nothing_is_left().await
}

/// What real clients encrypt.
async fn encrypted(watched: &Watched, gap: &str, nurse: &Person, room: &RoomId) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let room = nurse.room(room)?;
    let sent = room
        .send(RoomMessageEventContent::text_html(
            word("text"),
            format!("<b>{}</b>", word("html")),
        ))
        .await?;
    room.send(RoomMessageEventContent::emote_plain(word("emote")))
        .await?;
    let location = LocationMessageEventContent::new(word("place"), "geo:51.5,0.1".to_owned());
    room.send(RoomMessageEventContent::new(MessageType::Location(
        location,
    )))
    .await?;
    room.send_raw("org.example.mood", json!({ "mood": word("custom") }))
        .await?;
    room.send_raw(&word("kind"), json!({ "mood": word("custom") }))
        .await?;
    let data = word("attachment").repeat(100).into_bytes();
    room.send_attachment(
        word("attached"),
        &"text/plain".parse()?,
        data,
        AttachmentConfig::new(),
    )
    .await?;
    // Whoever takes a message back takes back ciphertext; the reason is in the clear.
    let _ = room
        .redact(&sent.response.event_id, Some(&word("redaction")), None)
        .await;
    room.send(RoomMessageEventContent::text_plain(word("text")))
        .await?;
    let recovery = nurse.client.encryption().recovery();
    // The second time there is one already.
    let _ = recovery
        .enable()
        .with_passphrase(&word("passphrase"))
        .wait_for_backups_to_upload()
        .await;
    nurse
        .client
        .encryption()
        .backups()
        .wait_for_steady_state()
        .await?;
    Ok(())
}

/// What real clients send in the clear: the server may refuse it, or not keep it.
async fn in_the_clear(
    watched: &Watched,
    gap: &str,
    nurse: &Person,
    therapist: &Person,
    room: &RoomId,
) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let (client, account) = (&nurse.client, nurse.client.account());
    let of_therapist = therapist.room(room)?;
    let room = nurse.room(room)?;
    let sent = room
        .send(RoomMessageEventContent::text_plain("x"))
        .await?
        .response
        .event_id;
    let _ = room
        .send(ReactionEventContent::new(Annotation::new(
            sent.clone(),
            word("reaction"),
        )))
        .await;
    let _ = of_therapist.set_name(word("roomname")).await;
    let _ = of_therapist.set_room_topic(&word("roomtopic")).await;
    let _ = of_therapist
        .send_state_event_raw(
            "org.example.state",
            &word("statekey"),
            json!({ "text": word("state") }),
        )
        .await;
    let _ = of_therapist
        .send_state_event_raw(&word("statekind"), "", json!({}))
        .await;
    let _ = room.report_content(sent, Some(word("report"))).await;
    let _ = room.report_room(word("report")).await;
    if let Ok(name) = format!("u.{}", word("tag")).parse() {
        let _ = room.set_tag(TagName::User(name), TagInfo::new()).await;
    }
    let _ = client
        .notification_settings()
        .await
        .add_keyword(word("keyword"))
        .await;
    let _ = client
        .media()
        .upload(
            &"text/plain".parse()?,
            word("upload").repeat(100).into_bytes(),
            None,
        )
        .await;
    let notes = RawJson::from_json(serde_json::value::to_raw_value(
        &json!({ "text": word("accountdata") }),
    )?);
    let _ = account
        .set_account_data_raw("org.example.notes".into(), notes.clone())
        .await;
    let _ = account
        .set_account_data_raw(word("accountkind").into(), notes)
        .await;
    let _ = account
        .set_avatar_url(Some(mxc_uri!("mxc://localhost/avatar")))
        .await;
    let device = client.device_id().context("no device")?;
    let _ = client.rename_device(device, &word("device")).await;
    let _ = client
        .matrix_auth()
        .login_username(nurse.id(), &word("password"))
        .initial_device_display_name(&word("device"))
        .send()
        .await;
    let alias = RoomAliasId::parse(format!("#{}:localhost", word("alias")))?;
    let _ = client.create_room_alias(&alias, room.room_id()).await;
    Ok(())
}

/// What a client could send that was written by somebody else.
async fn by_hand(watched: &Watched, gap: &str, nurse: &Person, room: &RoomId) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let encoded = |field: &str| in_query(&word(field));
    let me = Raw::log_in(watched.wire.url(), nurse.id().localpart(), &nurse.password).await?;
    let user = &me.user;
    let plain = json!({ "msgtype": "m.text", "body": word("plain") });
    me.send(room.as_str(), "m.room.message", plain).await?;
    let mut beside = megolm(room.as_str(), "x")?;
    beside["note"] = json!(word("beside"));
    me.send(room.as_str(), "m.room.encrypted", beside).await?;
    let content = megolm(room.as_str(), "x")?;
    me.put(
        &format!(
            "v3/rooms/{room}/send/m.room.encrypted/{}",
            encoded("transaction")
        ),
        content,
    )
    .await?;
    me.put(
        &format!("v3/profile/{user}/org.example.mood"),
        json!({ "org.example.mood": word("profile") }),
    )
    .await?;
    me.put(
        &format!("v3/profile/{user}/m.tz"),
        json!({ "m.tz": word("profile") }),
    )
    .await?;
    me.post(
        &format!("v3/user/{user}/filter"),
        json!({ "room": { "timeline": { "types": [word("filter")] } } }),
    )
    .await?;
    me.post(
        &format!("v3/user/{user}/filter"),
        json!({ "event_fields": [word("filter")] }),
    )
    .await?;
    let pusher = json!({
        "kind": "http", "app_id": "chat.example", "pushkey": "k", "lang": "en", "app_display_name": word("pusher"),
        "device_display_name": word("pusher"), "profile_tag": word("pusher"),
        "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only" },
    });
    me.post("v3/pushers/set", pusher).await?;
    let rule = json!({ "actions": ["notify"], "pattern": word("keyword") });
    me.put(
        &format!("v3/pushrules/global/content/{}", encoded("rule")),
        rule,
    )
    .await?;
    me.put(
        "v3/sendToDevice/m.room.message/t1",
        json!({ "messages": { (user): { "*": { "body": word("todevice") } } } }),
    )
    .await?;
    me.post(
        "v3/search",
        json!({ "search_categories": { "room_events": { "search_term": word("search") } } }),
    )
    .await?;
    me.post(
        "v3/user_directory/search",
        json!({ "search_term": word("search") }),
    )
    .await?;
    me.post(
        "v3/publicRooms",
        json!({ "filter": { "generic_search_term": word("search") } }),
    )
    .await?;
    let blob = encrypted_bytes(1_000);
    me.ask(
        reqwest::Method::POST,
        &format!("/_matrix/media/v3/upload?filename={}", encoded("filename")),
        Some(blob),
    )
    .await?;
    let event = me.says(room.as_str(), "x").await?;
    me.post(
        &format!("v3/rooms/{room}/receipt/m.read/{event}"),
        json!({ "thread_id": word("thread") }),
    )
    .await?;
    me.put(
        &format!("v3/presence/{user}/status"),
        json!({ "presence": "online", "status_msg": word("mood") }),
    )
    .await?;
    me.post(
        &format!("{THERAPY}/invites"),
        json!({ "kind": "individual", "note": word("invitation") }),
    )
    .await?;
    me.get(&format!("v3/{}", encoded("path"))).await?;
    me.get(&format!(
        "v3/sync?timeout=0&note={}&since={}",
        encoded("query"),
        encoded("since")
    ))
    .await?;
    me.post("v3/logout", json!({})).await?.ok()?;
    Ok(())
}

/// What is said about those who come and go.
async fn out_of_a_room(watched: &Watched, gap: &str, therapist: &Person) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let me = Raw::log_in(watched.wire.url(), "therapist", &therapist.password).await?;
    let name = format!("stranger{}", gap.len());
    let stranger = Raw::register(
        watched.wire.url(),
        &name,
        &therapist.invites_a_client().await?,
    )
    .await?;
    let room = json!({
        "name": word("name"), "topic": word("topic"), "invite": [stranger.user], "preset": "private_chat",
        "creation_content": { "note": word("creation") },
    });
    let room = me.makes_a_room(room).await?;
    for refused in [
        json!({ "room_alias_name": word("alias") }),
        json!({ "initial_state": [{ "type": "org.example", "content": { "t": word("state") } }] }),
    ] {
        me.post("v3/createRoom", refused).await?;
    }
    let whom = |field: &str| json!({ "user_id": stranger.user, "reason": word(field) });
    let reason = |field: &str| json!({ "reason": word(field) });
    stranger
        .post(&format!("v3/rooms/{room}/join"), reason("join"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/kick"), whom("kick"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/invite"), whom("invite"))
        .await?
        .ok()?;
    stranger
        .post(&format!("v3/rooms/{room}/leave"), reason("leave"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/ban"), whom("ban"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/unban"), whom("unban"))
        .await?
        .ok()?;
    stranger
        .post(&format!("v3/knock/{room}"), reason("knock"))
        .await?;
    me.post("v3/logout", json!({})).await?.ok()?;
    Ok(())
}

/// What somebody types who has not logged in.
async fn at_the_door(watched: &Watched, gap: &str) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let nobody = Raw::nobody(watched.wire.url())?;
    for (user, password) in [
        (word("login"), "wrong"),
        ("nurse".to_owned(), &*word("password")),
    ] {
        let identifier = json!({ "type": "m.id.user", "user": user });
        let login = json!({ "type": "m.login.password", "identifier": identifier, "password": password, "device_id": "TABLET" });
        nobody.post("v3/login", login).await?;
    }
    nobody
        .post(
            "v3/login",
            json!({ "type": word("logintype"), "token": word("token") }),
        )
        .await?;
    let auth = json!({ "type": "m.login.registration_token", "token": word("code"), "session": word("session") });
    nobody
        .post(
            "v3/register",
            json!({ "username": "somebody", "password": word("password"), "auth": auth }),
        )
        .await?;
    nobody
        .get(&format!(
            "v1/register/m.login.registration_token/validity?token={}",
            in_query(&word("code"))
        ))
        .await?;
    nobody
        .with_token(Some(&word("token")))
        .get("v3/account/whoami")
        .await?;
    nobody
        .ask(
            reqwest::Method::POST,
            "v3/login",
            Some(word("broken").into_bytes()),
        )
        .await?;
    Ok(())
}
