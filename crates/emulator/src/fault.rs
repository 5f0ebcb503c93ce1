//! The faults that the emulator detects: each has an AADSTS number, an OAuth error and an HTTP
//! status.
//!
//! Does not own: how a fault is returned to the client (see [`crate::request_trace`]).

use http::StatusCode;
use uuid::Uuid;

use crate::aadsts::Aadsts;
use crate::endpoint::RequestKind;

/// An AADSTS error. Clients should branch on [`Fault::error`] and [`Fault::suberror`] only. Numbers
/// and texts are for humans.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    // Malformed requests.
    #[error("The request must contain the following parameter: '{0}'.")]
    MissingParameter(&'static str),
    #[error("The request is not properly formatted. The parameter '{0}' is duplicated.")]
    DuplicatedParameter(String),
    #[error("The request is malformed or invalid.")]
    MalformedRequest,
    #[error("The endpoint only accepts POST, OPTIONS requests. Received a {0} request.")]
    NotPost(String),

    // Tenant, app, redirect URI.
    #[error("Unknown or invalid instance.")]
    UnknownInstance,
    #[error("Tenant '{0}' not found. Check that it is the right tenant id and the right cloud.")]
    UnknownTenant(String),
    #[error(
        "Application '{client_id}' ({name}) is not configured as a multi-tenant application. \
         Usage of the /{authority} endpoint is not supported for it. Use a tenant-specific endpoint."
    )]
    NotMultiTenant {
        client_id: Uuid,
        name: String,
        authority: String,
    },
    #[error(
        "Application '{client_id}' ({name}) is configured for use by work and school accounts only. \
         Do not use the /consumers endpoint to serve this request."
    )]
    NotForPersonalAccounts { client_id: Uuid, name: String },
    #[error(
        "Application '{client_id}' ({name}) is configured for use by Microsoft Account users only. \
         Use the /consumers endpoint to serve this request."
    )]
    OnlyForPersonalAccounts { client_id: Uuid, name: String },
    #[error("'{0}' is not a valid application identifier.")]
    NotAnAppId(String),
    #[error("Application with identifier '{client_id}' was not found in the directory '{tenant}'.")]
    UnknownApp { client_id: Uuid, tenant: String },
    #[error(
        "The redirect URI '{redirect_uri}' specified in the request does not match the redirect \
         URIs configured for the application '{client_id}'."
    )]
    RedirectMismatch {
        redirect_uri: String,
        client_id: Uuid,
    },

    // Authorize parameters.
    #[error("The application requested an unsupported response type '{0}'.")]
    UnsupportedResponseType(String),
    #[error("response_type 'token' is not enabled for the application.")]
    TokenResponseDisabled,
    #[error("response_type 'id_token' is not enabled for the application.")]
    IdTokenResponseDisabled,
    #[error("'{0}' is not a supported value of 'response_mode' when requesting a token.")]
    UnsupportedResponseMode(String),
    #[error("Unsupported 'prompt' value.")]
    UnsupportedPrompt,
    #[error("Invalid Code_Challenge_method parameter.")]
    ChallengeMethod,
    #[error("Invalid size of Code_Challenge parameter.")]
    ChallengeSize,
    #[error(
        "Proof Key for Code Exchange is required for cross-origin authorization code redemption."
    )]
    ChallengeRequired,

    // Scopes and resources.
    #[error(
        "The provided value for the input parameter 'scope' is not valid. The scope '{0}' is not valid."
    )]
    InvalidScope(String),
    #[error(
        "Provided value for the input parameter scope is not valid because it contains more than \
         one resource. Scope '{0}' is not valid."
    )]
    SeveralResources(String),
    #[error(
        "Provided value for the input parameter scope cannot be empty when requesting an access \
         token using the provided authorization code. Please specify a valid scope."
    )]
    ScopeNeeded,
    #[error(
        "The resource principal named {resource} was not found in the tenant named {tenant}. It may \
         not be installed there, or the request was sent to the wrong tenant."
    )]
    UnknownResource { resource: String, tenant: String },
    #[error(
        "The application '{client}' asked for scope '{scope}' that doesn't exist on the resource \
         '{resource}'. Contact the app vendor."
    )]
    UnknownScope {
        client: String,
        scope: String,
        resource: Uuid,
    },
    #[error(
        "The resource '{0}' is not an Application ID URI of the application that the requested \
         scopes belong to."
    )]
    ResourceMismatch(String),
    #[error(
        "Application '{0}' is requesting a token for itself. This scenario is supported only if \
         resource is specified using the GUID based App Identifier."
    )]
    SelfRequestByUri(Uuid),

    // The user and the browser.
    #[error("A silent sign-in request was sent but no user is signed in.")]
    NoUserSignedIn,
    #[error("Several user identities are available for the current request: one has to be chosen.")]
    SeveralSignedIn,
    #[error("The user declined to sign in or to consent to the application '{0}'.")]
    Declined(Uuid),
    #[error(
        "Invalid Request: the request tokens do not match the user context. Allow cookies, do not \
         copy pages between browsers, and start again from the application."
    )]
    FlowBindingMismatch,
    #[error("Authentication failed due to flow token expired. Start again from the application.")]
    FlowExpired,

    // Client authentication.
    #[error(
        "The request body must contain the following parameter: 'client_assertion' or \
         'client_secret'."
    )]
    SecretMissing,
    #[error(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client \
         secret value, not the client secret ID, for a secret added to app '{0}'."
    )]
    SecretWrong(Uuid),
    #[error(
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."
    )]
    SecretFromPublicClient,
    #[error(
        "The certificate used to sign the client assertion is not registered on application '{0}'."
    )]
    AssertionKeyUnknown(Uuid),
    #[error("The client assertion is not a well-formed token with the claims it has to have.")]
    AssertionMalformed,
    #[error("Client assertion is not within its valid time range.")]
    AssertionOutsideValidity,
    #[error("Client assertion audience claim does not match Realm issuer.")]
    AssertionAudienceMismatch,
    #[error("Client assertion subject does not match the application identifier '{0}'.")]
    AssertionSubjectMismatch(Uuid),
    #[error("The client '{0}' has no configured federated identity credentials.")]
    NoFederatedCredential(Uuid),
    #[error(
        "No matching federated identity record found for presented assertion issuer '{0}'. Check \
         your federated identity credential Subject, Audience and Issuer against the presented \
         assertion."
    )]
    FederatedIssuer(String),
    #[error(
        "No matching federated identity record found for presented assertion audience '{0}'. Check \
         your federated identity credential Subject, Audience and Issuer against the presented \
         assertion."
    )]
    FederatedAudience(String),
    #[error(
        "No matching federated identity record found for presented assertion subject '{0}'. Check \
         your federated identity credential Subject, Audience and Issuer against the presented \
         assertion."
    )]
    FederatedSubject(String),
    #[error(
        "Cross-origin token redemption is permitted only for the 'Single-Page Application' \
         client-type. Request origin: '{0}'."
    )]
    OriginNotAllowed(String),
    #[error(
        "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via \
         cross-origin requests."
    )]
    OriginNeeded,

    // Grants.
    #[error("The app requested an unsupported grant type '{0}'.")]
    UnsupportedGrant(String),
    #[error(
        "The grant type is not supported over the /common or /consumers endpoints. Use the \
         /organizations or tenant-specific endpoint."
    )]
    GrantNeedsTenant,
    #[error(
        "No tenant-identifying information found in either the request or implied by any provided \
         credentials."
    )]
    NoTenant,
    #[error(
        "The provided value for scope '{0}' is not valid. Client credential flows must have a scope \
         value with /.default suffixed to the resource identifier (application ID URI)."
    )]
    ScopeNotDefault(String),
    #[error("The 'claims' parameter is not valid JSON of the form that it has to have.")]
    MalformedClaims,
    #[error("'{0}' is not a supported value of 'requested_token_use'.")]
    UnsupportedTokenUse(String),
    #[error("Assertion failed signature validation.")]
    OboAssertionInvalidSignature,
    #[error(
        "Assertion audience does not match the Client app presenting the assertion: '{0}'. The \
         audience in the assertion was a different app."
    )]
    OboAssertionAudienceMismatch(Uuid),
    #[error("Assertion is not within its valid time range.")]
    OboAssertionExpired,
    #[error("Application '{0}' is not allowed to make application on-behalf-of calls.")]
    OboAssertionOfApplication(Uuid),
    #[error("OAuth 2.0 device flow error. Authorization is pending. Continue polling.")]
    DevicePending,
    #[error("The device code is not one that was issued to this application.")]
    DeviceCodeUnknown,
    #[error("The device code or the code that was typed has expired. Ask for a new one.")]
    DeviceCodeExpired,
    #[error("The user declined to sign in on the device.")]
    DeviceDeclined,
    #[error("Invalid request. The grant is malformed or invalid.")]
    MalformedGrant,
    #[error("The provided grant was issued to another client.")]
    GrantOfOtherClient,
    #[error("Provided Authorization Code is intended to use against other tenant, thus rejected.")]
    CodeOfOtherTenant,
    #[error(
        "User account '{username}' does not exist in tenant '{tenant}' and cannot access the \
         application in that tenant."
    )]
    UserNotInTenant { username: String, tenant: String },
    #[error(
        "The reply address '{presented}' does not match the reply address '{issued}' provided when \
         requesting Authorization code."
    )]
    RedirectChanged { presented: String, issued: String },
    #[error(
        "OAuth2 Authorization code was already redeemed. Retry with a new valid code or use an \
         existing refresh token."
    )]
    CodeRedeemed,
    #[error(
        "The provided authorization code or refresh token has expired due to inactivity. Send a new \
         interactive authorization request for this user and resource."
    )]
    CodeExpired,
    #[error(
        "The code_verifier does not match the code_challenge supplied in the authorization request \
         for PKCE."
    )]
    VerifierMissing,
    #[error(
        "The Code_Verifier does not match the code_challenge supplied in the authorization request."
    )]
    VerifierMismatch,
    #[error("The refresh token has expired due to inactivity. Sign in again.")]
    RefreshExpired,
    #[error(
        "The refresh token was issued to a single page app (SPA), and therefore has a fixed, \
         limited lifetime, which cannot be extended. Sign in again."
    )]
    SpaRefreshExpired,
    #[error("The user account is no longer in the directory.")]
    UserDeleted,

    // Injected errors.
    /// An error of the table, for a request of this kind.
    #[error("{}", .0.text)]
    Listed(&'static Aadsts, RequestKind),

    // Internal errors.
    #[error("The sign-in service failed.")]
    Internal,
}

impl Fault {
    /// Returns the error of the table with this number, for a request of this kind.
    pub(crate) fn listed(number: u32, kind: RequestKind) -> Self {
        Aadsts::numbered(number).map_or(Self::Internal, |row| Self::Listed(row, kind))
    }

    /// Returns whether the user sees a page even though the redirect URI is known.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::Listed(row, RequestKind::Authorize) if row.is_page())
    }

    /// Returns the AADSTS number.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::MissingParameter(_) => 900_144,
            Self::DuplicatedParameter(_) => 9_000_411,
            Self::MalformedRequest | Self::MalformedGrant | Self::MalformedClaims => 9_002_313,
            Self::NotPost(_) => 900_561,
            Self::UnknownInstance => 50_049,
            Self::UnknownTenant(_) => 90_002,
            Self::NotMultiTenant { .. } => 50_194,
            Self::NotForPersonalAccounts { .. } => 9_002_332,
            Self::OnlyForPersonalAccounts { .. } => 9_002_331,
            Self::NotAnAppId(_) => 700_038,
            Self::UnknownApp { .. } => 700_016,
            Self::RedirectMismatch { .. } => 50_011,
            Self::UnsupportedResponseType(_) => 70_005,
            Self::TokenResponseDisabled => 700_051,
            Self::IdTokenResponseDisabled => 700_054,
            Self::UnsupportedResponseMode(_) => 70_007,
            Self::UnsupportedPrompt => 90_023,
            Self::ChallengeMethod => 50_149,
            Self::ChallengeSize => 501_491,
            Self::ChallengeRequired => 9_002_325,
            Self::InvalidScope(_) => 70_011,
            Self::SeveralResources(_) => 28_000,
            Self::ScopeNeeded => 28_003,
            Self::UnknownResource { .. } => 500_011,
            Self::UnknownScope { .. } => 650_053,
            Self::ResourceMismatch(_) => 9_010_010,
            Self::SelfRequestByUri(_) => 90_009,
            Self::NoUserSignedIn => 50_058,
            Self::SeveralSignedIn => 16_000,
            Self::Declined(_) | Self::DeviceDeclined => 65_004,
            Self::FlowBindingMismatch => 165_000,
            Self::FlowExpired => 50_089,
            Self::SecretMissing => 7_000_218,
            Self::SecretWrong(_) => 7_000_215,
            Self::SecretFromPublicClient => 700_025,
            Self::AssertionKeyUnknown(_) => 700_027,
            Self::AssertionMalformed => 50_027,
            Self::AssertionOutsideValidity => 700_024,
            Self::AssertionAudienceMismatch => 700_023,
            Self::AssertionSubjectMismatch(_) => 700_021,
            Self::NoFederatedCredential(_) => 70_025,
            Self::FederatedIssuer(_) => 700_211,
            Self::FederatedAudience(_) => 700_212,
            Self::FederatedSubject(_) => 700_213,
            Self::OriginNotAllowed(_) => 9_002_326,
            Self::OriginNeeded => 9_002_327,
            Self::UnsupportedGrant(_) => 70_003,
            Self::GrantNeedsTenant => 9_001_023,
            Self::NoTenant => 50_059,
            Self::ScopeNotDefault(_) => 1_002_012,
            Self::UnsupportedTokenUse(_) => 90_023,
            Self::OboAssertionInvalidSignature => 50_013,
            Self::OboAssertionAudienceMismatch(_) => 500_131,
            Self::OboAssertionExpired => 500_133,
            Self::OboAssertionOfApplication(_) => 7_000_114,
            Self::DevicePending => 70_016,
            Self::DeviceCodeUnknown => 70_018,
            Self::DeviceCodeExpired => 70_019,
            Self::GrantOfOtherClient => 70_000,
            Self::CodeOfOtherTenant => 700_005,
            Self::UserNotInTenant { .. } => 50_020,
            Self::RedirectChanged { .. } => 500_112,
            Self::CodeRedeemed => 54_005,
            Self::CodeExpired => 70_008,
            Self::VerifierMissing => 50_148,
            Self::VerifierMismatch => 501_481,
            Self::RefreshExpired => 700_082,
            Self::SpaRefreshExpired => 700_084,
            Self::UserDeleted => 50_034,
            Self::Listed(row, _) => row.number,
            Self::Internal => 90_033,
        }
    }

    /// Returns the OAuth `error`.
    pub(crate) fn error(&self) -> &'static str {
        match self {
            Self::MissingParameter(_)
            | Self::DuplicatedParameter(_)
            | Self::MalformedRequest
            | Self::MalformedClaims
            | Self::UnsupportedTokenUse(_)
            | Self::GrantNeedsTenant
            | Self::NoTenant
            | Self::NotPost(_)
            | Self::UnknownTenant(_)
            | Self::NotMultiTenant { .. }
            | Self::NotForPersonalAccounts { .. }
            | Self::OnlyForPersonalAccounts { .. }
            | Self::RedirectMismatch { .. }
            | Self::UnsupportedResponseMode(_)
            | Self::UnsupportedPrompt
            | Self::ChallengeMethod
            | Self::ChallengeSize
            | Self::ChallengeRequired
            | Self::SeveralResources(_)
            | Self::ScopeNeeded
            | Self::SelfRequestByUri(_)
            | Self::FlowBindingMismatch
            | Self::FlowExpired
            | Self::OriginNotAllowed(_)
            | Self::OriginNeeded => "invalid_request",
            Self::UnknownInstance => "invalid_instance",
            Self::NotAnAppId(_) | Self::UnknownApp { .. } => "unauthorized_client",
            Self::UnsupportedResponseType(_)
            | Self::TokenResponseDisabled
            | Self::IdTokenResponseDisabled => "unsupported_response_type",
            Self::InvalidScope(_) | Self::ScopeNotDefault(_) => "invalid_scope",
            Self::DevicePending => "authorization_pending",
            Self::DeviceCodeUnknown => "bad_verification_code",
            Self::DeviceCodeExpired => "expired_token",
            Self::DeviceDeclined => "authorization_declined",
            Self::UnknownResource { .. } => "invalid_resource",
            Self::ResourceMismatch(_) => "invalid_target",
            Self::NoUserSignedIn => "login_required",
            Self::SeveralSignedIn => "interaction_required",
            Self::Declined(_) => "access_denied",
            Self::UnknownScope { .. }
            | Self::SecretMissing
            | Self::SecretWrong(_)
            | Self::SecretFromPublicClient
            | Self::AssertionKeyUnknown(_)
            | Self::AssertionMalformed
            | Self::AssertionOutsideValidity
            | Self::AssertionAudienceMismatch
            | Self::AssertionSubjectMismatch(_)
            | Self::NoFederatedCredential(_)
            | Self::FederatedIssuer(_)
            | Self::FederatedAudience(_)
            | Self::FederatedSubject(_)
            | Self::RedirectChanged { .. } => "invalid_client",
            Self::UnsupportedGrant(_) => "unsupported_grant_type",
            Self::MalformedGrant
            | Self::OboAssertionInvalidSignature
            | Self::OboAssertionAudienceMismatch(_)
            | Self::OboAssertionExpired
            | Self::OboAssertionOfApplication(_)
            | Self::GrantOfOtherClient
            | Self::CodeOfOtherTenant
            | Self::UserNotInTenant { .. }
            | Self::CodeRedeemed
            | Self::CodeExpired
            | Self::VerifierMissing
            | Self::VerifierMismatch
            | Self::RefreshExpired
            | Self::SpaRefreshExpired
            | Self::UserDeleted => "invalid_grant",
            Self::Listed(row, kind) => row.error(*kind),
            Self::Internal => "temporarily_unavailable",
        }
    }

    /// Returns the `suberror`, or `None` if Entra has none for this fault.
    pub(crate) fn suberror(&self) -> Option<&'static str> {
        match self {
            Self::RefreshExpired | Self::SpaRefreshExpired => Some("bad_token"),
            Self::GrantOfOtherClient => Some("client_mismatch"),
            Self::Listed(row, _) => row.suberror(),
            _ => None,
        }
    }

    /// Returns the requirement of a policy as plain JSON, for the next `claims` parameter.
    pub(crate) fn claims(&self) -> Option<&'static str> {
        match self {
            Self::Listed(row, _) => row.claims(),
            _ => None,
        }
    }

    /// Returns the HTTP status of a JSON response and of a page.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::SecretMissing
            | Self::SecretWrong(_)
            | Self::SecretFromPublicClient
            | Self::AssertionKeyUnknown(_)
            | Self::AssertionMalformed
            | Self::AssertionOutsideValidity
            | Self::AssertionAudienceMismatch
            | Self::AssertionSubjectMismatch(_)
            | Self::NoFederatedCredential(_)
            | Self::FederatedIssuer(_)
            | Self::FederatedAudience(_)
            | Self::FederatedSubject(_) => StatusCode::UNAUTHORIZED,
            Self::Listed(row, _) => row.status(),
            Self::Internal => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
