# What Entra's errors mean: `entra-NUMBER` is AADSTSNUMBER. Each text completes "the sign-in was refused: …".


## Consent and assignment

entra-65001 = consent has not been granted to this application
    .hint = sign in again and accept; where you are not allowed to, send your administrator this link
entra-90094 = only an administrator may consent to this application
    .hint = send your administrator this link, and sign in again afterwards
entra-65004 = the requested access was not accepted
    .hint = sign in again and accept, if that was not meant
entra-50105 = your account is not assigned to this application
    .hint = ask your administrator to assign you to it (Entra: Enterprise applications, Users and groups)
entra-65002 = the application and the server's application are both Microsoft's own, and Microsoft has not allowed the one to use the other
    .hint = set the client id of an application that your organisation registered for this server

## The user

entra-50076 = your organisation wants a second factor for this
    .hint = sign in again
entra-50072 = your organisation wants you to set up a second factor
    .hint = sign in again and follow the pages that set it up
entra-50058 = no account is signed in to the browser
    .hint = sign in again
entra-50057 = your account is disabled
    .hint = ask your administrator
entra-50020 = your account belongs to another organisation, and is not a guest of this one
    .hint = sign in with an account of this organisation, or ask its administrator for an invitation

## Conditional access

entra-53000 = your organisation asks for a device that meets its rules, and this one does not
    .hint = check this device in your organisation's portal, or ask its administrator
entra-53001 = your organisation asks for a device that has joined it, and this one has not
    .hint = sign in on a joined device, or ask your administrator
entra-53002 = your organisation admits only programs from its list, and this one is not on it
    .hint = ask your administrator
entra-53003 = a conditional access rule of your organisation does not allow it here and now
    .hint = try from another place or device, or ask your administrator which rule it was
entra-530032 = a security policy of your organisation does not allow it
    .hint = ask your administrator which policy it was
entra-530035 = the security defaults of your organisation do not allow this kind of sign-in
    .hint = sign in with a browser and not by device code, or ask your administrator
entra-530036 = your organisation does not allow sign-ins by device code or by authentication transfer, and this one comes from such a sign-in
    .hint = sign in with a browser and not by device code

## Sign-ins that have ended

entra-50173 = the password was changed, or all sign-ins of the account were ended
    .hint = sign in again
entra-700082 = the sign-in has not been used for too long
    .hint = sign in again
entra-70008 = the sign-in has ended
    .hint = sign in again
entra-70043 = your organisation asks for a new sign-in every so often
    .hint = sign in again
entra-50089 = the sign-in took too long
    .hint = sign in again
entra-700084 = the sign-in has ended after a day, because the application is registered as a single-page application
    .hint = sign in again; to make it last, register http://localhost under Mobile and desktop applications instead
entra-54005 = the code of the sign-in had been used before
    .hint = sign in again
entra-700005 = the sign-in was begun at another organisation (tenant)
    .hint = sign in again
entra-501481 = the PKCE verifier does not match the code
    .hint = sign in again; if it fails again, report it to the developers of Postern
entra-50196 = there were too many of the same requests
    .hint = wait a few minutes, then sign in again

## The registration

entra-50011 = the address that the browser should return to is not registered
    .hint = register http://localhost under Mobile and desktop applications
entra-700016 = the application does not exist in this organisation
    .hint = check the tenant and the client id of this server
entra-700038 = the client id is not the id of an application
    .hint = check the client id of this server
entra-50194 = the application is for one organisation only
    .hint = put the tenant's id into the authority of this server in place of `common`
entra-50049 = Entra does not know this authority
    .hint = check the authority of this server
entra-90002 = there is no such organisation (tenant) in this cloud
    .hint = check the authority of this server
entra-9002332 = the application does not accept this kind of account
    .hint = sign in with an account of the organisation, or check the authority of this server
entra-7000218 = the application is registered as one that has a secret (platform Web)
    .hint = register http://localhost under Mobile and desktop applications and not under Web; for a sign-in by code, allow public client flows as well
entra-700025 = the application is registered as one without a secret, and one was sent
    .hint = take the client secret out of this server's configuration
entra-9002326 = the address that the browser returns to is registered for single-page applications
    .hint = register http://localhost under Mobile and desktop applications, and not under Single-page application
entra-7000215 = the client secret is wrong
    .hint = store the secret's value again, not its id
entra-7000222 = the client secret has expired
    .hint = make a new one in the application's registration and store that
entra-700027 = the certificate is not registered for the application
    .hint = upload the certificate to the application's registration
entra-70021 = no federated credential of the application fits
    .hint = compare issuer, subject and audience of the application's federated credential with the token's

## Scopes and resources

entra-70011 = a scope cannot be requested
    .hint = check the scopes of this server
entra-650053 = a scope does not exist at the server's application
    .hint = check the scopes of this server; each begins with the App ID URI
entra-28000 = scopes of several applications cannot be requested at once
    .hint = check the scopes of this server
entra-500011 = the server's application does not exist in this organisation, or this program may not use it
    .hint = check the resource (App ID URI) of this server and the API permissions of the application
entra-9010010 = the resource is not an App ID URI of the application that the scopes belong to
    .hint = check the resource (App ID URI) of this server, letter for letter, and its scopes
entra-901002 = the authority does not accept `resource`
    .hint = check the authority of this server
entra-90009 = the application requests itself by name instead of its id
    .hint = set the resource of this server to the client id instead of the App ID URI
entra-900144 = the authority does not understand the request
    .hint = sign in again; if it fails again, report it to the developers of Postern

## Device code

entra-70016 = the code was not entered yet
    .hint = sign in again
entra-70018 = the code is not known
    .hint = sign in again
entra-70019 = the code was not entered in time
    .hint = sign in again
entra-70020 = the sign-in was declined
    .hint = sign in again

## On behalf of

entra-50013 = the assertion is expired or invalid
    .hint = sign in again

## Temporary errors

entra-90033 = the authority has a temporary problem
    .hint = try again in a few minutes

## Errors without a number. `$error` is the text of the error response

oauth-access-denied = { $error }
    .hint = sign in again if that was not meant
oauth-invalid-scope = { $error }
    .hint = check the scopes of this server
oauth-invalid-target = { $error }
    .hint = check the resource of this server
oauth-invalid-client = { $error }
    .hint = check the client id of this server
oauth-temporary-error = { $error }
    .hint = try again in a moment
oauth-sign-in-ended = { $error }
    .hint = sign in again
oauth-other-error = { $error }
    .hint = sign in again; if it fails again, tell the server's administrator
