//! The meaning of Entra's errors by number, and of others by code.
//!
//! The numbers are from Microsoft's list of AADSTS error codes, as far as a sign-in can meet them.

use texts::{Text, text};

use super::Actor::{self, Administrator, Owner, Time, You};

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    /// What happened, and what to do next. Completes "the sign-in was refused: …".
    pub(super) text: Text,
    pub(super) actor: Actor,
    /// True if an administrator can solve it by consenting.
    pub(super) admin_consent: bool,
}

fn row(actor: Actor, text: Text) -> Meaning {
    Meaning {
        text,
        actor,
        admin_consent: false,
    }
}

fn consent(actor: Actor, text: Text) -> Meaning {
    Meaning {
        admin_consent: true,
        ..row(actor, text)
    }
}

/// Returns the meaning of the error with this number.
pub(super) fn meaning(number: u32) -> Option<Meaning> {
    Some(match number {
        // Consent and assignment.
        65001 => consent(You, text!(Entra65001)),
        90094 | 90095 => consent(Administrator, text!(Entra90094)),
        65004 => row(You, text!(Entra65004)),
        50105 => row(Administrator, text!(Entra50105)),
        65002 => row(Owner, text!(Entra65002)),
        // The user.
        50076 | 50074 => row(You, text!(Entra50076)),
        50072 | 50079 => row(You, text!(Entra50072)),
        50058 => row(You, text!(Entra50058)),
        50057 => row(Administrator, text!(Entra50057)),
        50020 => row(You, text!(Entra50020)),
        // Conditional access.
        53000 => row(You, text!(Entra53000)),
        53001 => row(Administrator, text!(Entra53001)),
        53002 => row(Administrator, text!(Entra53002)),
        53003 => row(Administrator, text!(Entra53003)),
        530_032 => row(Administrator, text!(Entra530032)),
        530_035 => row(Administrator, text!(Entra530035)),
        530_036 => row(You, text!(Entra530036)),
        // Sign-ins that have ended.
        50173 => row(You, text!(Entra50173)),
        700_082 => row(You, text!(Entra700082)),
        70008 => row(You, text!(Entra70008)),
        70043 => row(You, text!(Entra70043)),
        50089 => row(You, text!(Entra50089)),
        700_084 => row(Owner, text!(Entra700084)),
        54005 => row(You, text!(Entra54005)),
        700_005 => row(You, text!(Entra700005)),
        501_481 | 50147 | 501_491 => row(You, text!(Entra501481)),
        50196 => row(Time, text!(Entra50196)),
        // The registration.
        50011 => row(Owner, text!(Entra50011)),
        700_016 => row(Owner, text!(Entra700016)),
        700_038 => row(Owner, text!(Entra700038)),
        50194 => row(Owner, text!(Entra50194)),
        50049 => row(Owner, text!(Entra50049)),
        90002 | 900_384 | 90038 => row(Owner, text!(Entra90002)),
        9_002_332 | 90124 | 90130 | 9_001_023 => row(Owner, text!(Entra9002332)),
        7_000_218 => row(Owner, text!(Entra7000218)),
        700_025 => row(Owner, text!(Entra700025)),
        9_002_326 | 9_002_327 => row(Owner, text!(Entra9002326)),
        7_000_215 => row(Owner, text!(Entra7000215)),
        7_000_222 => row(Owner, text!(Entra7000222)),
        700_027 => row(Owner, text!(Entra700027)),
        70021 | 700_211..=700_213 => row(Owner, text!(Entra70021)),
        // Scopes and resources.
        70011 | 28002 => row(Owner, text!(Entra70011)),
        650_053 => row(Owner, text!(Entra650053)),
        28000 | 700_022 => row(Owner, text!(Entra28000)),
        500_011 | 650_057 | 50001 => row(Owner, text!(Entra500011)),
        9_010_010 => row(Owner, text!(Entra9010010)),
        901_002 => row(Owner, text!(Entra901002)),
        90009 => row(Owner, text!(Entra90009)),
        900_144 | 90014 | 70003 => row(Owner, text!(Entra900144)),
        // Device code.
        70016 => row(You, text!(Entra70016)),
        70018 => row(You, text!(Entra70018)),
        70019 => row(You, text!(Entra70019)),
        70020 => row(You, text!(Entra70020)),
        // On behalf of.
        50013 | 500_131 | 500_133 | 50027 => row(You, text!(Entra50013)),
        // Temporary errors.
        90033 | 90006 | 50033 | 90024 | 90055 => row(Time, text!(Entra90033)),
        _ => return None,
    })
}

/// Returns what to do about an error of which only the code is known, and who has to do it. `error`
/// is the text of the error response.
pub(super) fn of_code(code: &str, error: &str) -> (Text, Actor) {
    match code {
        "access_denied" => (text!(OauthAccessDenied { error }), You),
        "invalid_scope" => (text!(OauthInvalidScope { error }), Owner),
        "invalid_target" => (text!(OauthInvalidTarget { error }), Owner),
        "unauthorized_client" | "invalid_client" => (text!(OauthInvalidClient { error }), Owner),
        "temporarily_unavailable" | "server_error" => (text!(OauthTemporaryError { error }), Time),
        "invalid_grant"
        | "interaction_required"
        | "login_required"
        | "consent_required"
        | "expired_token" => (text!(OauthSignInEnded { error }), You),
        _ => (text!(OauthOtherError { error }), You),
    }
}
