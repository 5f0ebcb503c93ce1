//! What lies on the way to a server and to its authorization server: whether they answer, clock,
//! proxy, certificates.

use std::time::{Duration, SystemTime};

use ::http::HeaderMap;
use ::http::header::{AGE, DATE};
use reach::NOT_TLS_HINT;
use url::Url;

use super::{Aspect, Authority, Finding};
use crate::http::{Fault, Seen, Side, look};
use crate::identity::Target;
use crate::token::source::Source;

/// How far the clocks may be apart: tokens and assertions are judged with about that much leave.
const LEAVE: Duration = Duration::from_secs(5 * 60);

/// One end of a way.
struct End<'a> {
    url: &'a Url,
    seen: Seen,
}

pub(super) async fn findings(
    source: &Source,
    target: &Target,
    authority: Option<&Authority>,
) -> Vec<Finding> {
    let clients = &source.clients;
    let look_at = async |side, url| End {
        url,
        seen: look(clients, side, url).await,
    };
    let of_authority = async {
        match authority {
            Some(Authority { server, .. }) => {
                Some(look_at(server.side, server.token_endpoint.url()).await)
            }
            None => None,
        }
    };
    let (server, theirs) = tokio::join!(look_at(Side::Inside, target.url.url()), of_authority);
    let mut findings = Vec::new();
    if let (Some(authority), Some(end)) = (authority, &theirs) {
        findings.push(clock(source, authority, &end.seen));
    }
    let mut ends = vec![server];
    ends.extend(theirs.filter(|end| end.url.origin() != target.url.url().origin()));
    findings.extend(ends.iter().filter_map(reach));
    findings.extend(
        ends.iter()
            .map(|end| proxy(source, end.url, Some(&end.seen))),
    );
    findings.extend(ends.iter().filter_map(certificate));
    findings
}

fn clock(source: &Source, Authority { issuer, .. }: &Authority, seen: &Seen) -> Finding {
    let headers = match &seen.answer {
        Ok(headers) => headers,
        Err(fault) => {
            let what = format!("not compared with that of {issuer}: {fault}");
            return Finding::doubtful(Aspect::Clock, what);
        }
    };
    let Some(theirs) = time_of(headers) else {
        let what = format!("not compared: {issuer} does not say what time it is");
        return Finding::doubtful(Aspect::Clock, what);
    };
    let ours = source.clock.now();
    let (apart, behind) = match theirs.duration_since(ours) {
        Ok(apart) => (apart, true),
        Err(error) => (error.duration(), false),
    };
    if apart <= LEAVE {
        let what = format!("{} seconds from that of {issuer}", apart.as_secs());
        return Finding::fine(Aspect::Clock, what);
    }
    let what = format!(
        "this machine's is {} minutes {} that of {issuer}, so that tokens are taken for expired or not yet valid",
        apart.as_secs() / 60,
        if behind { "behind" } else { "ahead of" }
    );
    Finding::broken(Aspect::Clock, what).with(
        "set the date, the time and the time zone of this machine, or have it set by itself (NTP)",
    )
}

/// When the answer left, as far as its head says (RFC 9110 section 6.6.1, RFC 9111 section 5.1).
fn time_of(headers: &HeaderMap) -> Option<SystemTime> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| age.trim().parse::<u32>().ok());
    date.checked_add(Duration::from_secs(age.unwrap_or_default().into()))
}

/// Nothing for who is reached and not trusted: that is told of its certificate.
fn reach(end: &End<'_>) -> Option<Finding> {
    let origin = end.url.origin().ascii_serialization();
    match &end.seen.answer {
        Ok(_) => Some(Finding::fine(Aspect::Reach, format!("{origin} answers"))),
        Err(Fault::Unreachable(reason) | Fault::Inside(reason)) => {
            let what = format!("{origin} cannot be reached: {reason}");
            let todo = "check the address, the network, and whether a VPN is needed";
            Some(Finding::broken(Aspect::Reach, what).with(todo))
        }
        Err(Fault::UnknownName(name)) => {
            let what = format!("{origin} cannot be reached: {name}");
            Some(Finding::broken(Aspect::Reach, what).with(name.hint()))
        }
        Err(Fault::NotTls) => {
            let what = format!("{origin} does not speak TLS on that port");
            Some(Finding::broken(Aspect::Reach, what).with(NOT_TLS_HINT))
        }
        Err(Fault::Untrusted(_)) => None,
    }
}

/// The proxy on the way to `url`, and whether it leads there, if that was tried.
pub(super) fn proxy(source: &Source, url: &Url, seen: Option<&Seen>) -> Finding {
    let origin = url.origin().ascii_serialization();
    let Some(proxy) = source.clients.proxy_to(url) else {
        return Finding::fine(Aspect::Proxy, format!("none on the way to {origin}"));
    };
    let proxy = proxy.as_str().trim_end_matches('/');
    let what = format!("{proxy} on the way to {origin}");
    match seen.map(|seen| &seen.answer) {
        Some(Err(fault @ (Fault::Unreachable(_) | Fault::UnknownName(_)))) => {
            let what = format!("{what}, where nothing answers: {fault}");
            Finding::doubtful(Aspect::Proxy, what).with(
                "if that is not the proxy of this network, set `proxy` under [bridge] of config.toml (`system`, `none` or a URL), then `postern bridge --replace --detach`",
            )
        }
        Some(Err(Fault::Untrusted(_) | Fault::NotTls | Fault::Inside(_)) | Ok(_)) | None => {
            Finding::fine(Aspect::Proxy, what)
        }
    }
}

/// Nothing for plain http, and for who cannot be reached.
fn certificate(end: &End<'_>) -> Option<Finding> {
    let host = end.url.host_str().unwrap_or_default();
    let authority = end.seen.authority.as_deref();
    let named = authority.map_or("somebody without a name".to_owned(), |name| {
        format!("`{name}`")
    });
    match &end.seen.answer {
        Ok(_) => {
            let authority = authority?;
            let what = format!("`{authority}` vouches for {host}");
            Some(Finding::fine(Aspect::Certificate, what))
        }
        Err(Fault::Untrusted(flaw)) => {
            let what = format!("that of {host} comes from {named} and is not trusted: {flaw}");
            Some(Finding::broken(Aspect::Certificate, what).with(flaw.hint()))
        }
        Err(Fault::Unreachable(_) | Fault::UnknownName(_) | Fault::NotTls | Fault::Inside(_)) => {
            None
        }
    }
}
