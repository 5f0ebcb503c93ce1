//! Signing in for a device that has no browser.

use std::time::Duration;

use emulator::demo::{self, ADELE, LEE};
use emulator::{Command, Endpoint, Requirement, Times};
use serde_json::Value;

use super::granted;
use crate::harness::{Browser, Page, World, http};
use crate::tokens::claims;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A device with its pair of codes.
struct Device {
    client_id: String,
    authority: String,
    answer: Value,
}

impl Device {
    async fn asks(world: &World, client_id: &str, authority: &str, scope: &str) -> Self {
        let url = format!("{}/{authority}/oauth2/v2.0/devicecode", world.base);
        let form = [("client_id", client_id), ("scope", scope)];
        Self {
            client_id: client_id.to_owned(),
            authority: authority.to_owned(),
            answer: granted(http().post(url).form(&form)).await,
        }
    }

    /// The bridge, for the gateway's API.
    async fn bridge(world: &World) -> Self {
        let scope = format!("openid offline_access {}", demo::gateway_scope());
        let client = demo::BRIDGE_CLIENT_ID.to_string();
        Self::asks(world, &client, &demo::TENANT_ID.to_string(), &scope).await
    }

    fn text(&self, name: &str) -> &str {
        self.answer[name].as_str().unwrap()
    }

    /// Asks whether its person has signed in.
    fn polls(&self, world: &World) -> reqwest::RequestBuilder {
        self.polls_with(world, self.text("device_code"))
    }

    fn polls_with(&self, world: &World, code: &str) -> reqwest::RequestBuilder {
        let form = [
            ("grant_type", GRANT),
            ("client_id", &self.client_id),
            ("device_code", code),
        ];
        world.ask(&self.authority, &form)
    }

    /// Its person types the code, and signs in as far as the last question.
    async fn person_signs_in(&self, world: &World, name: &str) -> (Browser, Page) {
        let person = Browser::new();
        let page = self
            .person_types(world, &person, self.text("user_code"))
            .await;
        let page = person.answer(&page, &[("loginfmt", name)]).await;
        let page = person.password(&page).await;
        page.shows("Are you trying to sign in to");
        (person, page)
    }

    async fn person_types(&self, world: &World, person: &Browser, code: &str) -> Page {
        let url = self.text("verification_uri");
        assert_eq!(url, format!("{}/devicelogin", world.base));
        person.open(url).await.shows("Enter code");
        person.post(url, &[("otc", code)]).await
    }
}

#[tokio::test]
async fn a_device_shows_a_code_and_asks_until_its_person_has_signed_in() {
    let world = World::start().await;
    let device = Device::bridge(&world).await;
    assert_eq!(device.answer["expires_in"], 900);
    assert_eq!(device.answer["interval"], 5);
    assert!(device.answer.get("verification_uri_complete").is_none());
    let (code, message) = (device.text("user_code"), device.text("message"));
    assert_eq!(code.len(), 9);
    assert!(
        message.contains(code) && message.contains("/devicelogin"),
        "{message}"
    );

    for _ in 0..3 {
        let early = device.polls(&world);
        world
            .refused(early, 400, "authorization_pending", 70_016)
            .await;
    }
    let (person, page) = device.person_signs_in(&world, ADELE).await;
    let early = device.polls(&world);
    world
        .refused(early, 400, "authorization_pending", 70_016)
        .await;
    let end = person.answer(&page, &[("action", "next")]).await;
    end.shows("You have signed in to Postern bridge on your device");
    assert!(!end.headers.contains_key("location"));

    let tokens = granted(device.polls(&world)).await;
    assert_eq!(tokens["scope"], demo::gateway_scope());
    assert_eq!(claims(&tokens["access_token"])["azpacr"], "0");
    assert!(tokens["refresh_token"].is_string());
    let again = device.polls(&world);
    world.refused(again, 400, "invalid_grant", 54_005).await;
}

#[tokio::test]
async fn a_person_may_say_no() {
    let world = World::start().await;
    let device = Device::bridge(&world).await;
    let (person, page) = device.person_signs_in(&world, ADELE).await;
    let end = person.answer(&page, &[("action", "back")]).await;
    end.shows("You did not sign in to Postern bridge");
    let declined = device.polls(&world);
    world
        .refused(declined, 400, "authorization_declined", 65_004)
        .await;
    let late = person.answer(&page, &[("action", "next")]).await;
    late.shows_error(70_019);
}

#[tokio::test]
async fn codes_live_fifteen_minutes() {
    let world = World::start().await;
    let device = Device::bridge(&world).await;
    let (person, page) = device.person_signs_in(&world, ADELE).await;
    world.clock.advance(Duration::from_secs(900));
    let late = device.polls(&world);
    world.refused(late, 400, "expired_token", 70_019).await;
    person
        .answer(&page, &[("action", "next")])
        .await
        .shows_error(70_019);
    let code = device.text("user_code");
    let page = device.person_types(&world, &person, code).await;
    page.shows("That code didn’t work");
}

#[tokio::test]
async fn a_code_is_typed_as_people_type() {
    let world = World::start().await;
    let device = Device::bridge(&world).await;
    let code = device.text("user_code").to_lowercase();
    let spaced = format!(" {} {} ", &code[..4], &code[4..]);
    let person = Browser::new();
    device
        .person_types(&world, &person, "ABCDEFGHI")
        .await
        .shows("That code didn’t work");
    device
        .person_types(&world, &person, "")
        .await
        .shows("That code didn’t work");
    device
        .person_types(&world, &person, &spaced)
        .await
        .shows("to continue to Postern bridge");
    let typed = format!("{}?otc={code}", device.text("verification_uri"));
    assert_eq!(person.open(&typed).await.value_of("otc"), code);
    let hostile = format!("{}?otc=%22%3E%3Cb%3E", device.text("verification_uri"));
    assert!(!person.open(&hostile).await.body.contains("\"><b>"));
}

#[tokio::test]
async fn a_code_is_of_one_device() {
    let world = World::start().await;
    let device = Device::bridge(&world).await;
    let unknown = device.polls_with(&world, "made-up");
    world
        .refused(unknown, 400, "bad_verification_code", 70_018)
        .await;
    let missing = device.polls_with(&world, "");
    world
        .refused(missing, 400, "invalid_request", 900_144)
        .await;
    let notes = demo::NOTES_CLIENT_ID.to_string();
    let foreign = Device {
        client_id: notes,
        authority: device.authority.clone(),
        answer: device.answer.clone(),
    };
    let foreign = foreign.polls(&world);
    world
        .refused(foreign, 400, "bad_verification_code", 70_018)
        .await;
}

#[tokio::test]
async fn a_device_asks_for_what_there_is() {
    let world = World::start().await;
    let client = demo::BRIDGE_CLIENT_ID.to_string();
    let ask = |authority: &str, form: &[(&str, &str)]| {
        let url = format!("{}/{authority}/oauth2/v2.0/devicecode", world.base);
        http().post(url).form(form)
    };
    let own = demo::TENANT_ID.to_string();
    let id = ("client_id", client.as_str());
    for (authority, form, error, code) in [
        (own.as_str(), &[id] as &[_], "invalid_request", 900_144),
        (&own, &[("scope", "openid")], "invalid_request", 900_144),
        (
            &own,
            &[id, ("scope", "mcp.read")],
            "invalid_client",
            650_053,
        ),
        (
            "common",
            &[id, ("scope", "openid")],
            "invalid_request",
            50_194,
        ),
        (
            "nowhere.example",
            &[id, ("scope", "openid")],
            "invalid_request",
            90_002,
        ),
    ] {
        world.refused(ask(authority, form), 400, error, code).await;
    }
}

#[tokio::test]
async fn personal_accounts_sign_in_on_devices_too() {
    let world = World::start().await;
    let notes = demo::NOTES_CLIENT_ID.to_string();
    let device = Device::asks(&world, &notes, "common", "openid User.Read").await;
    let (person, page) = device.person_signs_in(&world, LEE).await;
    person.answer(&page, &[("action", "next")]).await;
    let form = [
        // As older clients ask.
        ("grant_type", "device_code"),
        ("client_id", &notes),
        ("code", device.text("device_code")),
        ("client_info", "1"),
    ];
    let tokens = granted(world.ask("common", &form)).await;
    assert_eq!(
        claims(&tokens["id_token"])["tid"],
        emulator::CONSUMERS.to_string()
    );
}

#[tokio::test]
async fn errors_and_policies_reach_devices_and_their_people() {
    let world = World::start().await;
    let fail = |number, endpoint| Command::Fail {
        number,
        endpoint,
        user: None,
        app: None,
        times: Times::ONCE,
    };
    world
        .switch(fail(700_016, Some(Endpoint::DeviceCode)))
        .await;
    let url = world.url("/oauth2/v2.0/devicecode");
    let client = demo::BRIDGE_CLIENT_ID.to_string();
    let form = [("client_id", client.as_str()), ("scope", "openid")];
    let request = http().post(url).form(&form);
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["error_codes"], serde_json::json!([700_016]));

    let device = Device::bridge(&world).await;
    world.switch(fail(50_196, Some(Endpoint::Token))).await;
    let poll = device.polls(&world);
    world.refused(poll, 400, "invalid_grant", 50_196).await;
    let poll = device.polls(&world);
    world
        .refused(poll, 400, "authorization_pending", 70_016)
        .await;
    let consent = Command::Require {
        requirement: Requirement::Consent,
        user: None,
        app: None,
    };
    world.switch(consent).await;
    let person = Browser::new();
    let page = device
        .person_types(&world, &person, device.text("user_code"))
        .await;
    let page = person.answer(&page, &[("loginfmt", ADELE)]).await;
    let page = person.password(&page).await;
    page.shows("data-page=\"consent\"");
    let page = person.answer(&page, &[("action", "next")]).await;
    page.shows("Are you trying to sign in to");
    person.answer(&page, &[("action", "next")]).await;

    let blocked = Command::Require {
        requirement: Requirement::Blocked,
        user: Some(ADELE.to_owned()),
        app: None,
    };
    let state = world.switch(blocked).await;
    let poll = device.polls(&world);
    world.refused(poll, 400, "invalid_grant", 53_003).await;
    let rule = state.rules.last().unwrap().rule;
    world.switch(Command::Remove { rule }).await;
    granted(device.polls(&world)).await;
}
