//! What policies demand: in the browser a page, elsewhere an error that says what to do.

use emulator::{Command, Requirement, demo};
use serde_json::Value;

use crate::harness::{BRIDGE_CALLBACK, Browser, World};

fn demand(requirement: Requirement) -> Command {
    Command::Require {
        requirement,
        user: Some(demo::ADELE.to_owned()),
        app: Some(demo::BRIDGE_CLIENT_ID.to_string()),
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_in_a_browser() {
    let world = World::start().await;
    let before = world.tokens().await;
    world.switch(demand(Requirement::SecondFactor)).await;
    let refused = world.refresh(&before);
    let body = world.refused(refused, 400, "invalid_grant", 50_076).await;
    assert_eq!(body["suberror"], "basic_action");
    let claims = body["claims"].as_str().unwrap();

    let person = Browser::new();
    let with_claims = world.authorize(&[("claims", claims)]);
    let page = person.sign_in(&with_claims, demo::ADELE).await;
    page.shows("data-page=\"second-factor\"");
    let silent = person.open(&world.authorize(&[("prompt", "none")])).await;
    assert_eq!(silent.parameter("error"), "interaction_required");
    assert_eq!(silent.parameter("claims"), claims);
    let page = person
        .answer(&page, &[("otc", ""), ("action", "next")])
        .await;
    page.shows("Please enter the code.");
    let answer = person
        .answer(&page, &[("otc", "123456"), ("action", "next")])
        .await;
    let code = answer.parameter("code");
    let tokens = world.redeem(&[("code", &code)]).await;
    world.refreshed(&tokens).await;
    let again = person.open(&world.authorize(&[])).await;
    again.parameter("code");

    let grady = Browser::new()
        .sign_in(&world.authorize(&[]), demo::GRADY)
        .await;
    grady.parameter("code");
}

#[tokio::test]
async fn who_gives_no_second_factor_is_not_let_in() {
    let world = World::start().await;
    world.switch(demand(Requirement::SecondFactor)).await;
    let person = Browser::new();
    let page = person.sign_in(&world.authorize(&[]), demo::ADELE).await;
    let no = person.answer(&page, &[("action", "back")]).await;
    assert_eq!(no.parameter("error"), "access_denied");
}

#[tokio::test]
async fn conditional_access_and_assignment_show_a_page_and_end_refreshes() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    for (requirement, number, suberror) in [
        (
            Requirement::CompliantDevice,
            53_000,
            Value::from("message_only"),
        ),
        (
            Requirement::DomainJoinedDevice,
            53_001,
            "message_only".into(),
        ),
        (Requirement::ApprovedApp, 53_002, "message_only".into()),
        (Requirement::Blocked, 53_003, "message_only".into()),
        (Requirement::Assignment, 50_105, Value::Null),
    ] {
        world.switch(demand(requirement)).await;
        let request = world.refresh(&tokens);
        let body = world.refused(request, 400, "invalid_grant", number).await;
        assert_eq!(body["suberror"], suberror);
        let page = Browser::new()
            .sign_in(&world.authorize(&[]), demo::ADELE)
            .await;
        page.shows_error(number);
        world.switch(Command::Clear).await;
    }
    world.refreshed(&tokens).await;
}

/// The policies of an API hold for every client that asks tokens for it.
#[tokio::test]
async fn a_policy_may_name_the_api() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let api = Command::Require {
        requirement: Requirement::Blocked,
        user: None,
        app: Some("Postern gateway".to_owned()),
    };
    world.switch(api).await;
    let request = world.refresh(&tokens);
    world.refused(request, 400, "invalid_grant", 53_003).await;
    let graph = world.code(&[("scope", "User.Read")]).await;
    world.redeem(&[("code", &graph)]).await;
}

#[tokio::test]
async fn consent_is_asked_for_until_it_is_given() {
    let world = World::start().await;
    let before = world.tokens().await;
    world.switch(demand(Requirement::Consent)).await;
    let request = world.refresh(&before);
    let body = world.refused(request, 400, "invalid_grant", 65_001).await;
    assert_eq!(body["suberror"], "consent_required");

    let person = Browser::new();
    let page = person.sign_in(&world.authorize(&[]), demo::ADELE).await;
    page.shows("data-page=\"consent\"");
    let silent = person.open(&world.authorize(&[("prompt", "none")])).await;
    assert_eq!(silent.parameter("error"), "consent_required");
    let no = person.answer(&page, &[("action", "back")]).await;
    assert_eq!(no.parameter("error"), "access_denied");
    let page = person.open(&world.authorize(&[])).await;
    let yes = person.answer(&page, &[("action", "next")]).await;
    yes.parameter("code");
    world.refreshed(&before).await;
    person.open(&world.authorize(&[])).await.parameter("code");

    world.switch(demand(Requirement::Consent)).await;
    let page = person.open(&world.authorize(&[])).await;
    page.shows("data-page=\"consent\"");
}

#[tokio::test]
async fn only_an_administrator_can_consent() {
    let world = World::start().await;
    let before = world.tokens().await;
    let person = Browser::new();
    for (requirement, number) in [
        (Requirement::AdminConsent, 90_094),
        (Requirement::AdminApproval, 90_095),
    ] {
        world.switch(demand(requirement)).await;
        let request = world.refresh(&before);
        let body = world.refused(request, 400, "invalid_grant", number).await;
        assert_eq!(body["suberror"], "consent_required");

        let login = world.authorize(&[("prompt", "login"), ("login_hint", demo::ADELE)]);
        let page = person.open(&login).await;
        let mut page = person.password(&page).await;
        page.shows("data-page=\"approval\"");
        if number == 90_095 {
            let why = [("justification", "work"), ("action", "next")];
            page = person.answer(&page, &why).await;
            page.shows("Request sent");
        } else {
            assert!(!page.body.contains("Request approval"), "{}", page.body);
        }
        let answer = person.answer(&page, &[("action", "back")]).await;
        assert!(answer.location().as_str().starts_with(BRIDGE_CALLBACK));
        assert_eq!(answer.parameter("error"), "access_denied");
        let text = answer.parameter("error_description");
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        world.switch(Command::Clear).await;
    }
}
