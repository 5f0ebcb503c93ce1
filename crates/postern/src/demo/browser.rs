//! A headless browser that signs Adele in and allows what the gateway asks for.
//!
//! The bridge runs it instead of the user's browser (`postern demo-browser URL`), so that everything
//! but the user is real. It sends requests to this machine only.

use anyhow::Context as _;
use emulator::demo::ADELE;
use reqwest::header::ORIGIN;
use reqwest::{Client, Response, Url};

use super::form::Form;
use crate::context::Context;
use crate::error::CliError;

/// The maximum number of pages, which is more than a sign-in has.
const MAX_PAGES: usize = 12;

/// Submits the forms of the sign-in pages until the last page.
pub(crate) fn run(url: &str, context: &Context) -> Result<(), CliError> {
    context.block_on(async { Ok(sign_in(url).await?) })
}

async fn sign_in(url: &str) -> anyhow::Result<()> {
    let client = client()?;
    let url: Url = url.parse().context("not a URL")?;
    let mut response = client.get(on_this_machine(url)?).send().await?;
    for _ in 0..MAX_PAGES {
        let (status, url) = (response.status(), response.url().clone());
        let page = response.text().await?;
        let Some((form, button)) = answer(&page) else {
            anyhow::ensure!(status.is_success(), "{} answered {status}", url.path());
            return Ok(());
        };
        response = submit(&client, &url, form, button).await?;
    }
    anyhow::bail!("the sign-in has more than {MAX_PAGES} pages")
}

/// Returns the form that continues the sign-in, filled in, and the button to click. Returns `None`
/// on the last page.
fn answer(page: &str) -> Option<(Form, (&'static str, &'static str))> {
    let buttons = [("answer", "allow"), ("account", ADELE), ("action", "next")];
    let mut forms = Form::all(page);
    buttons.into_iter().find_map(|button| {
        let at = forms
            .iter()
            .position(|form| form.has_button(button.0, button.1))?;
        let mut form = forms.swap_remove(at);
        form.fill("passwd", "any password");
        Some((form, button))
    })
}

async fn submit(
    client: &Client,
    page: &Url,
    form: Form,
    button: (&str, &str),
) -> anyhow::Result<Response> {
    let target = on_this_machine(page.join(&form.action)?)?;
    let request = client
        .post(target)
        .header(ORIGIN, page.origin().ascii_serialization());
    let request = request
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "navigate");
    Ok(request.form(&form.click(button.0, button.1)).send().await?)
}

fn on_this_machine(url: Url) -> anyhow::Result<Url> {
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    anyhow::ensure!(local, "the demo's browser opens pages of this machine only");
    Ok(url)
}

fn client() -> reqwest::Result<Client> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a browser has cookies and follows redirects; our clients do neither"
    )]
    Client::builder()
        .cookie_store(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::custom(|attempt| {
            match (
                attempt.previous().len(),
                on_this_machine(attempt.url().clone()),
            ) {
                (0..=10, Ok(_)) => attempt.follow(),
                (_, Err(elsewhere)) => attempt.error(elsewhere),
                (_, Ok(_)) => attempt.error("too many redirects"),
            }
        }))
        .build()
}

#[cfg(test)]
mod tests {
    use super::{ADELE, answer};

    #[test]
    fn every_sign_in_page_is_answered() {
        let form = |inner: &str| format!("<form action=\"/f\">{inner}</form>");
        let next = form("<input name=\"passwd\"><button name=\"action\" value=\"next\">");
        let pick = form(&format!("<button name=\"account\" value=\"{ADELE}\">"));
        let consent =
            form("<button name=\"answer\" value=\"deny\"><button name=\"answer\" value=\"allow\">");
        assert_eq!(answer(&consent).unwrap().1, ("answer", "allow"));
        assert_eq!(
            answer(&format!("{next}{pick}")).unwrap().1,
            ("account", ADELE)
        );
        let (form, button) = answer(&next).unwrap();
        assert_eq!(button, ("action", "next"));
        assert_eq!(
            form.inputs,
            [("passwd".to_owned(), "any password".to_owned())]
        );
        assert!(answer("<h1>You are signed in</h1>").is_none());
    }
}
