//! The table of errors. Numbers, `error` and `suberror` are Entra's. The texts are shortened.

use super::{Aadsts, row};

/// Sorted by number.
pub(crate) static TABLE: &[Aadsts] = &[
    row(28_000, "The input parameter 'scope' holds more than one resource.")
        .redirect("invalid_request")
        .token("invalid_request"),
    row(28_002, "The input parameter 'scope' is not valid when an access token is requested.")
        .token("invalid_scope"),
    row(50_001, "The resource is disabled, or does not exist in this tenant.")
        .redirect("invalid_resource")
        .token("invalid_resource"),
    row(50_011, "The redirect URI of the request does not match those configured for the application.")
        .page(),
    row(50_013, "The assertion failed signature validation.")
        .token("invalid_grant"),
    row(50_027, "The JWT is invalid or malformed.")
        .token("invalid_grant"),
    row(50_033, "A transient error has occurred. Try again.")
        .redirect("temporarily_unavailable")
        .json(503, "temporarily_unavailable"),
    row(50_049, "Unknown or invalid instance.")
        .token("invalid_instance"),
    row(50_058, "A silent sign-in request was sent but no user is signed in.")
        .redirect("login_required"),
    row(50_072, "The user has to enroll in multi-factor authentication (interactive).")
        .redirect("interaction_required")
        .token("invalid_grant").sub("basic_action").policy(),
    row(50_074, "Strong authentication is required.")
        .redirect("interaction_required")
        .token("invalid_grant").sub("basic_action").policy(),
    row(50_076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication.")
        .redirect("interaction_required")
        .token("invalid_grant").sub("basic_action").policy(),
    row(50_079, "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in multi-factor authentication.")
        .redirect("interaction_required")
        .token("invalid_grant").sub("basic_action").policy(),
    row(50_089, "The flow token expired. Start again from the application.")
        .page()
        .token("invalid_grant").sub("token_expired"),
    row(50_105, "The signed in user is not assigned to a role for the application. Your administrator has to assign you.")
        .page()
        .token("invalid_grant"),
    row(50_147, "Invalid size of Code_Challenge parameter.")
        .redirect("invalid_request")
        .token("invalid_grant"),
    row(50_173, "The provided grant has expired due to it being revoked. A fresh sign-in is needed, because the user changed the password or was signed out.")
        .token("invalid_grant").sub("bad_token"),
    row(50_194, "The application is not configured as a multi-tenant application. Use a tenant-specific endpoint.")
        .page()
        .token("invalid_request"),
    row(50_196, "The server terminated an operation because it met a client request loop. Contact the app vendor.")
        .token("invalid_grant"),
    row(53_000, "Device is not in required device state: compliant. Conditional Access wants a compliant device.")
        .page()
        .token("invalid_grant").sub("message_only").policy(),
    row(53_001, "Device is not in required device state: domain joined. Conditional Access wants a domain joined device.")
        .page()
        .token("invalid_grant").sub("message_only").policy(),
    row(53_002, "The application is not an approved app. Conditional Access wants an approved client application.")
        .page()
        .token("invalid_grant").sub("message_only").policy(),
    row(53_003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.")
        .page()
        .token("invalid_grant").sub("message_only").policy(),
    row(54_005, "The authorization code was already redeemed. Retry with a new valid code or use an existing refresh token.")
        .token("invalid_grant"),
    row(65_001, "The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource.")
        .redirect("consent_required")
        .token("invalid_grant").sub("consent_required"),
    row(65_002, "Consent between a first party application and a first party resource must be configured via preauthorization.")
        .page()
        .token("invalid_grant"),
    row(65_004, "The user declined to consent to access the app.")
        .redirect("access_denied"),
    row(70_003, "The app returned an unsupported grant type.")
        .token("unsupported_grant_type"),
    row(70_008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
        .token("invalid_grant"),
    row(70_011, "The scope requested by the app is invalid.")
        .redirect("invalid_scope")
        .token("invalid_scope"),
    row(70_016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
        .token("authorization_pending"),
    row(70_018, "Invalid verification code due to the user typing in the wrong user code for the device code flow. Authorization is not approved.")
        .token("bad_verification_code"),
    row(70_019, "The verification code expired. Have the user retry the sign-in.")
        .token("expired_token"),
    row(70_021, "No matching federated identity record found for the presented assertion.")
        .token("invalid_request"),
    row(70_043, "The refresh token has expired or is invalid due to sign-in frequency checks by Conditional Access.")
        .token("invalid_grant").sub("token_expired"),
    row(90_002, "The tenant was not found. Check that it is the right tenant id and the right cloud.")
        .page()
        .token("invalid_request"),
    row(90_006, "The service is temporarily unavailable. Retry the request.")
        .redirect("temporarily_unavailable")
        .json(503, "temporarily_unavailable"),
    row(90_009, "The application is requesting a token for itself. This is supported only if the resource is specified by the GUID of the app.")
        .redirect("invalid_request")
        .token("invalid_request"),
    row(90_014, "A required field is missing from the request.")
        .redirect("invalid_request")
        .token("invalid_request"),
    row(90_024, "The request budget is exceeded. This is a transient error.")
        .redirect("temporarily_unavailable")
        .json(503, "temporarily_unavailable"),
    row(90_033, "A transient error has occurred. Please try again.")
        .redirect("temporarily_unavailable")
        .json(503, "temporarily_unavailable"),
    row(90_038, "The tenant redirects to another national cloud. Use the authority of that cloud.")
        .page()
        .token("invalid_request"),
    row(90_055, "There are too many incoming requests.")
        .redirect("temporarily_unavailable")
        .json(429, "temporarily_unavailable"),
    row(90_094, "The grant requires administrator permissions.")
        .redirect("access_denied")
        .token("invalid_grant").sub("consent_required"),
    row(90_095, "The grant requires administrator permissions. An approval can be requested.")
        .redirect("access_denied")
        .token("invalid_grant").sub("consent_required"),
    row(500_011, "The resource principal was not found in the tenant. It may not be installed there, or the request was sent to the wrong tenant.")
        .redirect("invalid_resource")
        .token("invalid_resource"),
    row(500_131, "The audience of the assertion does not match the application that presents it.")
        .token("invalid_grant"),
    row(500_133, "The assertion is not within its valid time range. It may have expired.")
        .token("invalid_grant"),
    row(501_481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
        .token("invalid_grant"),
    row(501_491, "Invalid size of Code_Challenge parameter.")
        .redirect("invalid_request")
        .token("invalid_grant"),
    row(530_032, "The request is blocked by a security policy that the tenant administrator has configured.")
        .page()
        .token("invalid_grant").sub("message_only").policy(),
    row(530_035, "Access has been blocked by security defaults. The request uses a flow that they deem unsafe.")
        .page()
        .token("invalid_grant").sub("message_only"),
    row(530_036, "The refresh token is invalid due to authentication flow checks by Conditional Access.")
        .token("invalid_grant"),
    row(650_053, "The application asked for a scope that doesn't exist on the resource. Contact the app vendor.")
        .redirect("invalid_client")
        .token("invalid_client"),
    row(650_057, "Invalid resource. The client has requested access to a resource which is not listed in its requested permissions.")
        .redirect("invalid_resource")
        .token("invalid_resource"),
    row(700_005, "The provided authorization code is intended to be used against another tenant.")
        .token("invalid_grant"),
    row(700_016, "The application was not found in the directory. It may not be installed there, or the request was sent to the wrong tenant.")
        .page()
        .token("unauthorized_client"),
    row(700_022, "The input parameter 'scope' holds more than one resource.")
        .token("invalid_request"),
    row(700_025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
        .json(401, "invalid_client"),
    row(700_027, "The certificate used to sign the client assertion is not registered on the application, or the signature is wrong.")
        .json(401, "invalid_client"),
    row(700_038, "The client_id is not a valid application identifier.")
        .page()
        .token("unauthorized_client"),
    row(700_082, "The refresh token has expired due to inactivity. Sign in again.")
        .token("invalid_grant").sub("bad_token"),
    row(700_084, "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime, which cannot be extended. Sign in again.")
        .token("invalid_grant").sub("bad_token"),
    row(700_211, "No matching federated identity record found for the issuer of the presented assertion.")
        .json(401, "invalid_client"),
    row(700_212, "No matching federated identity record found for the audience of the presented assertion.")
        .json(401, "invalid_client"),
    row(700_213, "No matching federated identity record found for the subject of the presented assertion.")
        .json(401, "invalid_client"),
    row(900_144, "The request must contain a parameter that it does not.")
        .redirect("invalid_request")
        .token("invalid_request"),
    row(900_384, "The JWT token failed signature validation: it is of another cloud.")
        .token("invalid_request"),
    row(901_002, "The 'resource' request parameter isn't supported.")
        .redirect("invalid_request")
        .token("invalid_request"),
    row(7_000_215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.")
        .json(401, "invalid_client"),
    row(7_000_218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
        .json(401, "invalid_client"),
    row(7_000_222, "The provided client secret keys for the app are expired. Create new keys for the app.")
        .json(401, "invalid_client"),
    row(9_002_326, "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type.")
        .token("invalid_request"),
    row(9_002_327, "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.")
        .token("invalid_request"),
    row(9_010_010, "The resource is not an Application ID URI of the application that the requested scopes belong to.")
        .redirect("invalid_target")
        .token("invalid_target"),
];
