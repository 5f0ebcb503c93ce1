//! The terminal output for a pending sign-in.

use control::api::{ApprovalView, SignInView, SignInWay, UserCodeView};

/// The sign-in to announce, and what the user can do at the terminal.
pub(super) struct Announcer {
    pub(super) server: String,
    /// Whether a typed callback URL is read, for a browser on another machine. `None` if the browser
    /// is on this machine.
    pub(super) reads_callback_url: Option<bool>,
    /// Whether a typed line answers a question.
    pub(super) can_approve: bool,
    /// This machine's address as the SSH client reached it.
    pub(super) machine: Option<String>,
    /// The sign-in that this command requests, if any.
    pub(super) requested: Option<Requested>,
}

/// The requested sign-in, and the sign-in that was pending before.
pub(super) struct Requested {
    /// How the page is delivered, if the request may join a pending sign-in. `None` if it replaces
    /// that.
    pub(super) joins: Option<SignInWay>,
    pub(super) before: Option<SignInView>,
}

impl Requested {
    /// Returns whether the page belongs to the requested sign-in, and not to an earlier one that the
    /// request replaces.
    fn covers(&self, page: &SignInView) -> bool {
        let is_new = self
            .before
            .as_ref()
            .is_none_or(|before| (&before.url, &before.code) != (&page.url, &page.code));
        // A question at the terminal has no URL that could become invalid.
        let is_question = page.approval.as_ref().is_some_and(|asked| !asked.on_page);
        is_new
            || is_question
            || self.joins.is_some_and(|way| match way {
                SignInWay::Local => true,
                SignInWay::Remote => page.code.is_some() || page.takes_address,
                SignInWay::DeviceCode => page.code.is_some(),
                SignInWay::Manual => page.takes_address,
            })
    }
}

impl Announcer {
    /// Returns whether the sign-in can be completed on this page. An earlier sign-in may be about to
    /// be replaced.
    pub(super) fn is_current(&self, page: &SignInView) -> bool {
        self.requested
            .as_ref()
            .is_none_or(|requested| requested.covers(page))
    }

    /// Returns the text for the page. It contains the URL only if `shown`, the page shown before, has
    /// another one.
    pub(super) fn announcement(&self, page: &SignInView, shown: Option<&SignInView>) -> String {
        if let Some(code) = &page.code {
            return code_to_enter(page, code);
        }
        match &page.approval {
            Some(approval) if !approval.on_page => return self.question(approval),
            Some(approval) => return self.page_with_question(approval, page, shown),
            None => {}
        }
        self.page_location(page, shown)
    }

    /// Returns the text for a page that asks a question first. Contains its URL only at a terminal,
    /// because a program could answer the question with it.
    fn page_with_question(
        &self,
        approval: &ApprovalView,
        page: &SignInView,
        shown: Option<&SignInView>,
    ) -> String {
        let is_known = shown.is_some_and(|shown| shown.approval.as_ref() == Some(approval));
        let question = match is_known {
            true => String::new(),
            false => format!(
                "{} The page asks you first.\n",
                approval_question(&self.server, approval)
            ),
        };
        let place = match (self.can_approve, &page.browser_problem) {
            (true, _) => self.page_location(page, shown),
            (false, None) => "Answer on the page in your browser.".to_owned(),
            (false, Some(problem)) => format!(
                "No browser could be opened ({problem}). Run `postern sign-in {}` at a terminal.",
                self.server
            ),
        };
        question + &place
    }

    /// Returns the question, which the next typed line answers.
    fn question(&self, approval: &ApprovalView) -> String {
        let question = approval_question(&self.server, approval);
        match self.can_approve {
            true => format!(
                "{question} Allow it only if you trust this server with that access.\nAllow it? [y/N]"
            ),
            false => format!(
                "{question} Approve it in Postern's window, or run `postern sign-in {}` at a terminal.",
                self.server
            ),
        }
    }

    fn page_location(&self, page: &SignInView, shown: Option<&SignInView>) -> String {
        if let (Some(reads), Some(port)) = (self.reads_callback_url, page.callback_port) {
            return self.remote_page(page, port, reads);
        }
        let is_shown = shown.is_some_and(|shown| shown.url == page.url);
        match &page.browser_problem {
            Some(problem) if is_shown => {
                format!("No browser could be opened ({problem}). Open the page above.")
            }
            Some(problem) => format!(
                "No browser could be opened ({problem}). Open this page:\n\n  {}\n",
                page.url
            ),
            None => format!(
                "Waiting for your browser. If it shows nothing, open this page:\n\n  {}\n",
                page.url
            ),
        }
    }

    fn remote_page(&self, page: &SignInView, port: u16, reads: bool) -> String {
        let (url, server) = (&page.url, &self.server);
        let paste = match reads {
            true => "paste it here".to_owned(),
            false => format!("paste it into `postern sign-in {server} --paste`"),
        };
        let forward = match &self.machine {
            Some(machine) => format!("run `ssh -L {port}:localhost:{port} {machine}` there"),
            None => format!("forward port {port} from there to this machine"),
        };
        format!(
            "Open this page in any browser:\n\n  {url}\n\n\
             The sign-in ends on port {port} of localhost, on this machine. A browser on another \
             machine cannot\nconnect to it: copy the complete URL from the browser's error page \
             and {paste}.\nOr {forward} before you open the page.\n"
        )
    }
}

fn approval_question(server: &str, approval: &ApprovalView) -> String {
    let ApprovalView {
        resource,
        issuer,
        previous,
        audience,
        previous_audience,
        other_server,
        on_page: _,
    } = approval;
    let before = previous.as_ref();
    let before = before.map(|before| format!(" You previously allowed access to {before}."));
    let audience = audience.as_ref().map(|audience| {
        let before = previous_audience.as_ref();
        let before = before.map(|before| format!("; before, it was {before}"));
        let other = other_server.as_ref();
        let other = other.map(|other| {
            format!(
                " Tokens of the server {other} have it too: each server could use the other's tokens."
            )
        });
        format!(
            " Its tokens now have the audience {audience}{}.{}",
            before.unwrap_or_default(),
            other.unwrap_or_default()
        )
    });
    format!(
        "{server} asks for access to {resource}, with tokens from {issuer}.{}{}",
        before.unwrap_or_default(),
        audience.unwrap_or_default()
    )
}

fn code_to_enter(page: &SignInView, code: &UserCodeView) -> String {
    let minutes = code.until.saturating_sub(page.since).div_ceil(60);
    let filled_in = match page.url == code.page {
        true => String::new(),
        false => format!(" This page has the code filled in:\n\n  {}\n", page.url),
    };
    format!(
        "Open this page on any device:\n\n  {}\n\nand enter this code within {minutes} \
         minutes:\n\n  {}\n\nEnter a code only if you asked for it yourself.{filled_in}",
        code.page, code.code
    )
}

#[cfg(test)]
mod tests {
    use control::api::{SignInView, SignInWay, UserCodeView};

    use super::{Announcer, Requested};

    fn page() -> SignInView {
        SignInView {
            server: "snippets".into(),
            url: "https://login.example/a".into(),
            browser_problem: None,
            code: None,
            callback_port: Some(40123),
            approval: None,
            takes_address: false,
            since: 0,
        }
    }

    fn announcer(reads_callback_url: Option<bool>, machine: Option<&str>) -> Announcer {
        Announcer {
            server: "snippets".into(),
            reads_callback_url,
            can_approve: true,
            machine: machine.map(str::to_owned),
            requested: None,
        }
    }

    #[test]
    fn page_of_replaced_sign_in_is_not_announced() {
        let waiting = page();
        let hand_in = SignInView {
            takes_address: true,
            ..page()
        };
        let next = SignInView {
            url: "https://login.example/b".into(),
            ..page()
        };
        for (joins, before, is_live) in [
            (Some(SignInWay::Local), &waiting, true),
            (Some(SignInWay::DeviceCode), &waiting, false),
            (Some(SignInWay::Manual), &waiting, false),
            (Some(SignInWay::Remote), &waiting, false),
            (Some(SignInWay::Manual), &hand_in, true),
            (None, &waiting, false),
        ] {
            let asked = Requested {
                joins,
                before: Some(before.clone()),
            };
            let announcer = Announcer {
                requested: Some(asked),
                ..announcer(None, None)
            };
            assert_eq!(announcer.is_current(before), is_live, "{joins:?}");
            assert!(announcer.is_current(&next), "{joins:?}");
        }
    }

    #[test]
    fn url_and_browser_problem_are_shown_once() {
        let page = page();
        let failed = SignInView {
            browser_problem: Some("`x` could not be started".into()),
            ..page.clone()
        };
        let told = |page, shown| announcer(None, None).announcement(page, shown);
        let first = told(&page, None);
        assert!(first.contains("\n  https://login.example/a\n"), "{first}");
        let then = told(&failed, Some(&page));
        assert!(then.contains("`x`") && !then.contains("https"), "{then}");
        let late = told(&failed, None);
        assert!(late.contains("`x`") && late.contains("https"), "{late}");
    }

    #[test]
    fn remote_browser_is_offered_paste_and_port_forwarding() {
        let told = announcer(Some(true), Some("192.0.2.7")).announcement(&page(), None);
        assert!(told.contains("\n  https://login.example/a\n"), "{told}");
        assert!(
            told.contains("`ssh -L 40123:localhost:40123 192.0.2.7`"),
            "{told}"
        );
        assert!(told.contains("paste it here"), "{told}");
        let piped = announcer(Some(false), None).announcement(&page(), None);
        assert!(
            piped.contains("`postern sign-in snippets --paste`"),
            "{piped}"
        );
        assert!(!piped.contains("ssh"), "{piped}");
    }

    #[test]
    fn user_code_is_shown_with_page_and_lifetime() {
        let mut waiting = page();
        waiting.code = Some(UserCodeView {
            code: "WDJB-MJHT".into(),
            page: waiting.url.clone(),
            until: 900,
        });
        let told = announcer(Some(true), None).announcement(&waiting, None);
        assert!(told.contains("\n  WDJB-MJHT\n"), "{told}");
        assert!(told.contains("within 15 minutes"), "{told}");
        assert!(!told.contains("filled in"), "{told}");
        waiting.url = "https://login.example/a?code=WDJB-MJHT".into();
        let told = announcer(None, None).announcement(&waiting, None);
        assert!(told.contains("\n  https://login.example/a\n"), "{told}");
        assert!(told.contains("?code=WDJB-MJHT"), "{told}");
    }
}
