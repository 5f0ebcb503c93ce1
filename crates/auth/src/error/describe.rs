//! The texts of the errors.

use texts::{Arg, Describe, Text, error_in_english, text};

use super::{AuthorizationError, MixUp, SecretError, SignInError, SignInReason, SignOutError};
use crate::explanation::Explanation;

error_in_english!(
    AuthorizationError,
    SignInReason,
    SignInError,
    MixUp,
    SignOutError,
    SecretError
);

impl Describe for AuthorizationError {
    fn text(&self) -> Text {
        match self {
            Self::SignInNeeded {
                server,
                reason,
                explanation,
            } => sign_in_needed(server, *reason, explanation.as_deref()),
            Self::Forbidden {
                server,
                explanation,
            } => text!(SignInForbidden {
                server,
                reason: explanation.text()
            }),
            Self::Unreachable {
                server,
                issuer,
                reason,
                retry_after: _,
            } => text!(TokenServerUnreachable {
                server,
                issuer,
                reason
            }),
            Self::ForeignAudience {
                server,
                audience,
                owner,
            } => text!(TokenHasForeignAudience {
                server,
                audience,
                owner: *owner
            }),
            Self::Vault(error) => error.text(),
            Self::NotGranted {
                server,
                reason,
                explanation: _,
            } => text!(TokenNotGranted { server, reason }),
            Self::Misconfigured {
                server,
                reason,
                explanation: _,
            } => text!(SignInMisconfigured { server, reason }),
        }
    }
}

fn sign_in_needed(server: &str, reason: SignInReason, explanation: Option<&Explanation>) -> Text {
    match (reason, explanation) {
        (SignInReason::DeviceCodeRefused, _) => {
            let reason = explanation.map_or_else(|| reason.text(), Explanation::text);
            text!(SignInNeededNotByDeviceCode { server, reason })
        }
        (_, Some(explanation)) => text!(SignInNeeded {
            server,
            reason: explanation.text()
        }),
        (_, None) => text!(SignInNeededUnexplained {
            server,
            reason: reason.text()
        }),
    }
}

impl Describe for SignInReason {
    fn text(&self) -> Text {
        match self {
            Self::NotSignedIn => text!(ReasonNotSignedIn),
            Self::Expired => text!(ReasonExpired),
            Self::Revoked => text!(ReasonRevoked),
            Self::InteractionRequired => text!(ReasonInteractionRequired),
            Self::DeviceCodeRefused => text!(ReasonDeviceCodeRefused),
            Self::KeepsRefusing => text!(ReasonTokensRefused),
            Self::Damaged => text!(ReasonRecordDamaged),
            Self::NotApproved => text!(ReasonResourceNotApproved),
            Self::AudienceChanged => text!(ReasonAudienceChanged),
        }
    }
}

impl Describe for SignInError {
    fn text(&self) -> Text {
        match self {
            Self::Declined {
                server,
                explanation,
            } => text!(SignInDeclined {
                server,
                reason: explanation.text()
            }),
            Self::TimedOut { server, waited } => {
                text!(SignInTimedOut {
                    server,
                    minutes: waited.as_secs() / 60
                })
            }
            Self::Refused {
                server,
                explanation,
            } => text!(SignInRefused {
                server,
                reason: explanation.text()
            }),
            Self::Unreachable { server, reason } => {
                text!(SignInServerUnreachable { server, reason })
            }
            Self::Busy { issuer, reason } => text!(AuthorizationServerBusy { issuer, reason }),
            Self::Untrusted { server, flaw } => {
                text!(CertificateNotTrusted {
                    server,
                    reason: flaw.text()
                })
            }
            Self::NotTls { server } => text!(ServerWithoutTls { server }),
            Self::UnknownName { server, name } => {
                text!(ServerNameUnresolved {
                    server,
                    reason: name.text()
                })
            }
            Self::ClockWrong {
                server,
                off_by,
                behind,
            } => {
                let minutes = off_by.as_secs() / 60;
                match behind {
                    true => text!(ClockBehind { server, minutes }),
                    false => text!(ClockAhead { server, minutes }),
                }
            }
            Self::PortTaken { server, port } => text!(RedirectPortInUse {
                server,
                port: *port
            }),
            Self::PortAwaited {
                server,
                port,
                other,
            } => text!(RedirectPortUsedBySignIn {
                server,
                port: *port,
                other
            }),
            Self::NoRegistration { server, issuer } => {
                text!(NoClientRegistration { server, issuer })
            }
            Self::SecretMissing { server, secret } => {
                text!(ClientSecretMissing {
                    server,
                    secret: secret.as_str()
                })
            }
            Self::NoDeviceCode { server, issuer } => text!(NoDeviceCode { server, issuer }),
            Self::NotForPeople { server } => text!(ClientCredentialsNeedNoSignIn { server }),
            Self::NotProtected { server } => text!(ServerNeedsNoSignIn { server }),
            Self::NoSignIn {
                server,
                status,
                words,
            } => no_sign_in(server, *status, words.as_deref()),
            Self::NoSuchServer { server: _, gateway } => text!(NoSuchServerAtGateway { gateway }),
            Self::WrongPath { server, status } => {
                text!(NothingAtPath {
                    server,
                    status: *status
                })
            }
            Self::Insecure { server, what } => text!(SignInInsecure {
                server,
                reason: what
            }),
            Self::ForeignResource {
                server,
                reason,
                entry,
            } => text!(SignInForForeignResource {
                server,
                reason,
                entry
            }),
            Self::ApprovalNeeded { approval } => {
                let (server, resource) = (&approval.server, &approval.resource);
                text!(ResourceApprovalNeeded {
                    server,
                    resource: resource.as_str()
                })
            }
            Self::NotApproved { server, resource } => {
                text!(ResourceNotApproved { server, resource })
            }
            Self::MixUp(error) => error.text(),
            Self::Malformed { server, what } => text!(SignInMalformed {
                server,
                reason: what
            }),
            Self::RegistrationLost { server, error } => {
                text!(RegistrationLost { server, error })
            }
            Self::DeviceCode(error) => {
                let (reason, hint) = (error.text(), error.text().into_hint());
                text!(DeviceCodeSignInFailed { reason, hint })
            }
            Self::Vault(error) => error.text(),
        }
    }
}

fn no_sign_in(server: &str, status: Option<u16>, words: Option<&str>) -> Text {
    match (status, words) {
        (None, None) => text!(ServerNamesNoSignIn { server }),
        (Some(status), None) => text!(ServerAnswersAndNamesNoSignIn { server, status }),
        (None, Some(words)) => text!(ServerSaysAndNamesNoSignIn { server, words }),
        (Some(status), Some(words)) => {
            text!(ServerAnswersSaysAndNamesNoSignIn {
                server,
                status,
                words
            })
        }
    }
}

impl Describe for MixUp {
    fn text(&self) -> Text {
        let Self {
            server,
            issuer,
            endpoint,
            address,
            owner,
            entry,
        } = self;
        let endpoint = Arg::from(*endpoint);
        text!(EndpointOfAnotherIssuer {
            server,
            issuer,
            endpoint,
            address,
            owner,
            entry
        })
    }
}

impl Describe for SignOutError {
    fn text(&self) -> Text {
        match self {
            Self::Unknown => text!(AccountNotSignedIn),
            Self::NotRevoked { issuer, reason } => text!(TokensNotRevoked { issuer, reason }),
            Self::Vault(error) => error.text(),
        }
    }
}

impl Describe for SecretError {
    fn text(&self) -> Text {
        match self {
            Self::Unfit => text!(SecretNotHeaderValue),
            Self::Vault(error) => error.text(),
        }
    }
}
