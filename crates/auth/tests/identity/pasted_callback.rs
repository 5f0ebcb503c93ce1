//! A browser that cannot reach this machine, and the pasted callback.

use auth::{AccountSelection, PastedCallbackError, SignInError, SignInFlow, Target};
use url::Url;

use super::authority::Rotation;
use super::fixture::{Fixture, end_of};

async fn begin(fixture: &Fixture, target: &Target) -> SignInFlow {
    let identity = &fixture.identity;
    let flow = identity.start_sign_in_elsewhere(target, None, AccountSelection::Last);
    flow.await.unwrap()
}

#[tokio::test]
async fn pasted_callback_finishes_sign_in() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = begin(&fixture, &target).await;
    let (pasted_callback, page) = (flow.pasted_callback(), flow.url().clone());
    let end = end_of(&page).await;
    assert_eq!(end.port(), Some(flow.port()));
    let bring = async {
        let text = format!(" {end}\n");
        pasted_callback.submit(&text).await
    };
    let (account, handed) = tokio::join!(flow.finish(), bring);
    account.unwrap();
    assert_eq!(handed, Ok(()));
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    let late = pasted_callback.submit(end.as_str()).await;
    assert_eq!(late, Err(PastedCallbackError::Ended));
}

#[tokio::test]
async fn wrong_pasted_callback_keeps_sign_in() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = begin(&fixture, &target).await;
    let (pasted_callback, page) = (flow.pasted_callback(), flow.url().clone());
    let end = end_of(&page).await;
    let with = |change: &dyn Fn(&mut Url)| {
        let mut url = end.clone();
        change(&mut url);
        url.to_string()
    };
    let bring = async {
        let other_state = with(&|url| url.set_query(Some("code=c&state=other")));
        assert_eq!(
            pasted_callback.submit(&other_state).await,
            Err(PastedCallbackError::Foreign)
        );
        for strange in [
            String::new(),
            "the page".to_owned(),
            page.to_string(),
            with(&|url| url.set_query(None)),
            with(&|url| url.set_port(Some(1)).unwrap()),
            with(&|url| url.set_path("/other")),
            with(&|url| url.set_host(Some("evil.example")).unwrap()),
            format!("{end}&code=another"),
        ] {
            let given = pasted_callback.submit(&strange).await;
            assert_eq!(given, Err(PastedCallbackError::NoAnswer), "{strange}");
        }
        assert!(fixture.authority.asked("token").is_empty());
        let mixed_up = with(&|url| {
            let query = url.query().unwrap().replace("iss=http", "iss=https");
            url.set_query(Some(&query));
        });
        pasted_callback.submit(&mixed_up).await
    };
    let (account, handed) = tokio::join!(flow.finish(), bring);
    assert_eq!(handed, Ok(()), "it belonged to this sign-in");
    let refused = account.unwrap_err();
    assert!(
        matches!(refused, SignInError::Insecure { .. }),
        "{refused}: an answer by hand is checked as any other"
    );
    assert!(fixture.authority.asked("token").is_empty());
}

#[tokio::test]
async fn remote_entra_sign_in_uses_query_response() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    let target = fixture.entra_usual();
    let flow = begin(&fixture, &target).await;
    let pasted_callback = flow.pasted_callback();
    let end = end_of(flow.url()).await;
    let (account, handed) = tokio::join!(flow.finish(), pasted_callback.submit(end.as_str()));
    account.unwrap();
    assert_eq!(handed, Ok(()));
    assert!(!fixture.authority.asked("authorize")[0].contains_key("response_mode"));
}
