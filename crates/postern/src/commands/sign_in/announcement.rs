//! What a person at a terminal is told of a sign-in that waits.

use control::api::{ApprovalView, SignInView, SignInWay, UserCodeView};

/// Who is told, and what they can do.
pub(super) struct Announcer {
    pub(super) server: String,
    /// Whether an address that is typed is read, for a browser on another machine.
    pub(super) reads_callback_url: Option<bool>,
    /// Whether a line that is typed answers a question.
    pub(super) can_approve: bool,
    /// This machine's address, as whoever came by SSH reached it.
    pub(super) machine: Option<String>,
    /// The sign-in that is asked for, if it is one.
    pub(super) requested: Option<Requested>,
}

/// What a person asks for, and what waited before the bridge was told.
pub(super) struct Requested {
    /// The way on which a sign-in that waits already is joined; `None` if none is joined.
    pub(super) joins: Option<SignInWay>,
    pub(super) before: Option<SignInView>,
}

impl Requested {
    /// Whether that page is not one that makes way for what is asked for.
    fn covers(&self, page: &SignInView) -> bool {
        let is_new = self
            .before
            .as_ref()
            .is_none_or(|before| (&before.url, &before.code) != (&page.url, &page.code));
        // A question has no address that could be dead.
        let asks = page.approval.as_ref().is_some_and(|asked| !asked.on_page);
        is_new
            || asks
            || self.joins.is_some_and(|way| match way {
                SignInWay::Here => true,
                SignInWay::Elsewhere => page.code.is_some() || page.takes_address,
                SignInWay::Code => page.code.is_some(),
                SignInWay::Page => page.takes_address,
            })
    }
}

impl Announcer {
    /// Whether the sign-in can be finished on that page: another flow may be about to take the
    /// place of one that waited before.
    pub(super) fn is_current(&self, page: &SignInView) -> bool {
        self.requested
            .as_ref()
            .is_none_or(|requested| requested.covers(page))
    }

    /// Where the page is, said once, and what is between it and a browser.
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

    /// The question that the page asks first. Its address is for a user at a terminal alone: with
    /// it, a program could answer.
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

    /// The question, for the answer on the next line.
    fn question(&self, approval: &ApprovalView) -> String {
        let question = approval_question(&self.server, approval);
        match self.can_approve {
            true => format!(
                "{question} Allow it only if you trust this server with that.\nAllow it? [y/N]"
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
            None => format!("forward port {port} from there to this one"),
        };
        format!(
            "Open this page in any browser:\n\n  {url}\n\n\
             It ends on port {port} of localhost, which is on this machine. If the browser is on \
             another one, it\nsays that it cannot connect: copy the whole address that it shows \
             then, and {paste}.\nOr {forward} before you open the page.\n"
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
    let before = before.map(|before| format!(" Before, you allowed access to {before}."));
    let audience = audience.as_ref().map(|audience| {
        let before = previous_audience.as_ref();
        let before = before.map(|before| format!(", before it was {before}"));
        let other = other_server.as_ref();
        let other = other.map(|other| {
            format!(
                " Tokens of the server {other} have it too: each of the two could use the other's."
            )
        });
        format!(
            " Its tokens have the audience {audience} now{}.{}",
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
        false => format!(" The code is filled in already at\n\n  {}\n", page.url),
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
    fn page_that_makes_way_is_not_announced() {
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
            (Some(SignInWay::Here), &waiting, true),
            (Some(SignInWay::Code), &waiting, false),
            (Some(SignInWay::Page), &waiting, false),
            (Some(SignInWay::Elsewhere), &waiting, false),
            (Some(SignInWay::Page), &hand_in, true),
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
    fn the_page_is_named_once_and_so_is_what_keeps_the_browser_from_it() {
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
    fn whoever_has_a_browser_elsewhere_is_told_both_ways_back() {
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
    fn a_code_is_told_with_its_page_and_its_end() {
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
