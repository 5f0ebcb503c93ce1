use uuid::Uuid;

use super::{Aadsts, POLICY_CLAIMS, TABLE};
use crate::endpoint::RequestKind;
use crate::fault::Fault;

#[test]
fn table_is_sorted_and_every_row_is_used() {
    assert!(TABLE.is_sorted_by(|one, next| one.number < next.number));
    for row in TABLE {
        assert!(
            row.authorize.is_some() || row.token.is_some(),
            "{}",
            row.number
        );
        assert!(row.text.ends_with('.') || row.text.ends_with("'."));
    }
}

/// A number has the same form whether the emulator detects the fault or a rule injects it.
#[test]
fn table_agrees_with_detected_faults() {
    let text = String::new;
    for fault in [
        Fault::MissingParameter("scope"),
        Fault::UnknownTenant(text()),
        Fault::NotAnAppId(text()),
        Fault::UnknownApp {
            client_id: Uuid::nil(),
            tenant: text(),
        },
        Fault::InvalidScope(text()),
        Fault::SeveralResources(text()),
        Fault::UnknownResource {
            resource: text(),
            tenant: text(),
        },
        Fault::UnknownScope {
            client: text(),
            scope: text(),
            resource: Uuid::nil(),
        },
        Fault::ResourceMismatch(text()),
        Fault::SelfRequestByUri(Uuid::nil()),
        Fault::SecretMissing,
        Fault::SecretWrong(Uuid::nil()),
        Fault::SecretFromPublicClient,
        Fault::AssertionKeyUnknown(Uuid::nil()),
        Fault::OriginNotAllowed(text()),
        Fault::OriginNeeded,
        Fault::UnsupportedGrant(text()),
        Fault::FederatedIssuer(text()),
        Fault::FederatedAudience(text()),
        Fault::FederatedSubject(text()),
        Fault::OboAssertionInvalidSignature,
        Fault::OboAssertionAudienceMismatch(Uuid::nil()),
        Fault::OboAssertionExpired,
        Fault::DevicePending,
        Fault::DeviceCodeUnknown,
        Fault::DeviceCodeExpired,
        Fault::CodeOfOtherTenant,
        Fault::CodeRedeemed,
        Fault::CodeExpired,
        Fault::VerifierMismatch,
        Fault::RefreshExpired,
        Fault::SpaRefreshExpired,
        Fault::Internal,
    ] {
        let row = Aadsts::numbered(fault.code()).unwrap_or_else(|| panic!("{}", fault.code()));
        let listed = (row.error(RequestKind::Token), row.suberror(), row.status());
        let found = (fault.error(), fault.suberror(), fault.status());
        assert_eq!(listed, found, "AADSTS{}", row.number);
    }
}

#[test]
fn policy_claims_are_valid_json() {
    let claims: serde_json::Value = serde_json::from_str(POLICY_CLAIMS).unwrap();
    assert_eq!(claims["access_token"]["capolids"]["essential"], true);
}
