//! Diagnoses the network to a server and to its authorization server: reachability, clock, proxy,
//! certificates.

use std::time::{Duration, SystemTime};

use ::http::HeaderMap;
use ::http::header::{AGE, DATE};
use url::Url;

use texts::{Describe, Language, text};

use super::{CheckKind, Finding, TokenIssuer};
use crate::http::{HttpError, NetworkZone, ProbeResult, probe};
use crate::target::Target;
use crate::token::source::Source;

/// The tolerated difference of the clocks. Authorization servers tolerate about the same for
/// tokens and assertions.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// A server and the result of its probe.
struct ProbedServer<'a> {
    url: &'a Url,
    result: ProbeResult,
}

pub(super) async fn findings(
    source: &Source,
    target: &Target,
    authority: Option<&TokenIssuer>,
) -> Vec<Finding> {
    let clients = &source.clients;
    let probe_at = async |zone, url| ProbedServer {
        url,
        result: probe(clients, zone, url).await,
    };
    let of_authority = async {
        match authority {
            Some(TokenIssuer { server, .. }) => {
                Some(probe_at(server.zone, server.token_endpoint.url()).await)
            }
            None => None,
        }
    };
    let (server, issuer_server) = tokio::join!(
        probe_at(NetworkZone::Local, target.url().url()),
        of_authority
    );
    let mut findings = Vec::new();
    if let (Some(authority), Some(server)) = (authority, &issuer_server) {
        findings.push(clock(source, authority, &server.result));
    }
    let mut servers = vec![server];
    servers
        .extend(issuer_server.filter(|server| server.url.origin() != target.url().url().origin()));
    findings.extend(servers.iter().filter_map(reach));
    findings.extend(
        servers
            .iter()
            .map(|server| proxy(source, server.url, Some(&server.result))),
    );
    findings.extend(servers.iter().filter_map(certificate));
    findings
}

fn clock(
    source: &Source,
    TokenIssuer { issuer, .. }: &TokenIssuer,
    result: &ProbeResult,
) -> Finding {
    let headers = match &result.response {
        Ok(headers) => headers,
        Err(error) => {
            let what = format!("not compared with that of {issuer}: {error}");
            return Finding::warning(CheckKind::Clock, what);
        }
    };
    let Some(theirs) = time_of(headers) else {
        let what = format!("not compared: {issuer} sends no `Date` header");
        return Finding::warning(CheckKind::Clock, what);
    };
    let ours = source.clock.now();
    let (apart, behind) = match theirs.duration_since(ours) {
        Ok(apart) => (apart, true),
        Err(error) => (error.duration(), false),
    };
    if apart <= CLOCK_SKEW {
        let what = format!("{} seconds from that of {issuer}", apart.as_secs());
        return Finding::ok(CheckKind::Clock, what);
    }
    let what = format!(
        "this machine's is {} minutes {} that of {issuer}, so that tokens seem expired or not yet valid",
        apart.as_secs() / 60,
        if behind { "behind" } else { "ahead of" }
    );
    Finding::failed(CheckKind::Clock, what).with(
        "set the date, the time and the time zone of this machine, or set it automatically (NTP)",
    )
}

/// Returns when the response was generated, by its headers (RFC 9110 §6.6.1, RFC 9111 §5.1).
fn time_of(headers: &HeaderMap) -> Option<SystemTime> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| age.trim().parse::<u32>().ok());
    date.checked_add(Duration::from_secs(age.unwrap_or_default().into()))
}

/// Returns `None` for a server that is not trusted: the certificate check reports that.
fn reach(server: &ProbedServer<'_>) -> Option<Finding> {
    let origin = server.url.origin().ascii_serialization();
    match &server.result.response {
        Ok(_) => Some(Finding::ok(CheckKind::Reach, format!("{origin} answers"))),
        Err(error @ (HttpError::Unreachable(_) | HttpError::PrivateAddress(_))) => {
            let what = format!(
                "{origin} cannot be reached: {}",
                error.text().message(Language::English)
            );
            let todo = "check the address, the network, and whether a VPN is needed";
            Some(Finding::failed(CheckKind::Reach, what).with(todo))
        }
        Err(HttpError::UnknownName(name)) => {
            let text = text!(ServerNameUnresolved {
                server: origin,
                reason: name.text()
            });
            Some(Finding::from_text(CheckKind::Reach, &text))
        }
        Err(HttpError::NotTls) => {
            let text = text!(ServerWithoutTls { server: origin });
            Some(Finding::from_text(CheckKind::Reach, &text))
        }
        Err(HttpError::Untrusted(_)) => None,
    }
}

/// Reports the proxy for `url`, and whether the server is reachable through it, if it was probed.
pub(super) fn proxy(source: &Source, url: &Url, result: Option<&ProbeResult>) -> Finding {
    let origin = url.origin().ascii_serialization();
    let Some(proxy) = source.clients.proxy_to(url) else {
        return Finding::ok(CheckKind::Proxy, format!("none on the way to {origin}"));
    };
    let proxy = proxy.as_str().trim_end_matches('/');
    let what = format!("{proxy} on the way to {origin}");
    match result.map(|result| &result.response) {
        Some(Err(error @ (HttpError::Unreachable(_) | HttpError::UnknownName(_)))) => {
            let what = format!(
                "{what}, which does not work: {}",
                error.text().message(Language::English)
            );
            Finding::warning(CheckKind::Proxy, what).with(
                "if that is not the proxy of this network, set `proxy` under [bridge] of config.toml (`system`, `none` or a URL), then `postern bridge --replace --detach`",
            )
        }
        Some(
            Err(HttpError::Untrusted(_) | HttpError::NotTls | HttpError::PrivateAddress(_)) | Ok(_),
        )
        | None => Finding::ok(CheckKind::Proxy, what),
    }
}

/// Returns `None` for plain http, and if the server is unreachable.
fn certificate(server: &ProbedServer<'_>) -> Option<Finding> {
    let host = server.url.host_str().unwrap_or_default();
    let authority = server.result.authority.as_deref();
    let named = authority.map_or("an unnamed issuer".to_owned(), |name| format!("`{name}`"));
    match &server.result.response {
        Ok(_) => {
            let authority = authority?;
            let what = format!("that of {host} is issued by `{authority}`");
            Some(Finding::ok(CheckKind::Certificate, what))
        }
        Err(HttpError::Untrusted(flaw)) => {
            let text = text!(CertificateIssuerNotTrusted {
                host,
                issuer: named,
                reason: flaw.text()
            });
            Some(Finding::from_text(CheckKind::Certificate, &text))
        }
        Err(
            HttpError::Unreachable(_)
            | HttpError::UnknownName(_)
            | HttpError::NotTls
            | HttpError::PrivateAddress(_),
        ) => None,
    }
}
