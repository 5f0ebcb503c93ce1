# Errors of signing in, of getting tokens and of signing out. `$server` is a name or a URL.

## No token for a request

sign-in-needed = { $server } needs a sign-in: { $reason }
sign-in-needed-unexplained = { $server } needs a sign-in: { $reason }
    .hint = sign in to it in Postern
sign-in-needed-not-by-device-code = { $server } needs a sign-in: { $reason }
    .hint = sign in to it with a browser in place of a device code
sign-in-forbidden = the sign-in to { $server } is not renewed: { $reason }
token-server-unreachable = cannot get a token for { $server } from the authorization server { $issuer }: { $reason }
    .hint = check the network, Postern tries again by itself
token-has-foreign-audience = the token for { $server } is not sent: its audience `{ $audience }` is { $owner }
    .hint = tell the administrators of the server and of its authorization server, or set `resource` of this server to that API if this is right
token-not-granted = cannot get a token for { $server }: { $reason }
sign-in-misconfigured = the sign-in to { $server } cannot be renewed: { $reason }
tokens-expire-at-once = its tokens expire as soon as they are issued
    .hint = check the client id, the scopes and the registration of this server

## Consents

consents-not-offered = { $server } has no list of consents
    .hint = check its own account page
consents-unreachable = the consents of { $server } could not be read: { $reason }
    .hint = try again in a moment
consent-unknown = { $server } knows no consent `{ $id }`
    .hint = list the consents again
consents-malformed = { $server } sent an invalid list of consents: { $reason }
    .hint = tell the server's administrator

## The pasted address

pasted-address-not-callback = this is not the address that the browser ends on
    .hint = sign in there first, then copy its full address, which begins with http://localhost or http://127.0.0.1
pasted-address-of-another-sign-in = this address belongs to another sign-in, or to one that has ended
    .hint = open the page of this sign-in, and copy the address that it ends on
sign-in-ended = the sign-in has ended
    .hint = start it again

## The vault

keychain-locked = the keychain is locked
    .hint = unlock it and try again
keychain-unusable = the keychain cannot be used: { $reason }
    .hint = start one (a Secret Service such as gnome-keyring on Linux), or choose a key file: `POSTERN_VAULT=file postern bridge --replace --detach`
vault-key-missing = the vault key for { $folder } is missing: { $reason }
    .hint = restore it, or delete that folder and sign in again
vault-record-damaged = the record { $path } is damaged or was changed
    .hint = delete it and sign in again
key-file-exposed = others can read the key file { $path }
    .hint = chmod 600 { $path }
vault-unusable = the vault at { $path } cannot be used: { $reason }
    .hint = check the disk and who may write there

## Client credentials

client-credentials-rejected = { $reason }
    .hint = check the client id, the credential, the scopes and the resource of this server, and the client's registration at the authorization server
client-credentials-tokens-refused = the server refuses the tokens that Postern gets for it
    .hint = check the scopes and the resource of this server, and ask its administrator to give the client access
client-credentials-without-resource = { $issuer } grants by scope, and the configuration names no resource
    .hint = add `authority` and `resource` to the `auth` of this server in config.toml

## Why a sign-in is needed

reason-not-signed-in = not signed in
reason-expired = the last sign-in has ended
reason-revoked = the last sign-in was revoked or has expired at the authorization server
reason-interaction-required = the authorization server requires user interaction
reason-device-code-refused = the authorization server no longer accepts the last sign-in, which was by device code
reason-tokens-refused = the server refuses the tokens of the last sign-in
reason-record-damaged = the record of the last sign-in is damaged
reason-resource-not-approved = you have not approved the resource that its tokens are for
reason-audience-changed = its tokens are for another audience than before, which you have to approve

## Signing in

sign-in-declined = the sign-in to { $server } was declined: { $reason }
sign-in-timed-out = the sign-in to { $server } was not finished within { $minutes } minutes
    .hint = start it again
sign-in-refused = the sign-in to { $server } was refused: { $reason }
sign-in-server-unreachable = { $server } cannot be reached: { $reason }
    .hint = check the network and the address
authorization-server-busy = the authorization server { $issuer } cannot answer at the moment: { $reason }
    .hint = try again in a few minutes
certificate-not-trusted = the certificate of { $server } is not trusted: { $reason }
server-without-tls = { $server } does not speak TLS on that port
    .hint = { -check-port-or-use-http }
server-name-unresolved = { $server } cannot be reached: { $reason }
clock-behind = the clock of this machine is { $minutes } minutes behind that of the authorization server of { $server }
    .hint = set the date and time, then sign in again
clock-ahead = the clock of this machine is { $minutes } minutes ahead of that of the authorization server of { $server }
    .hint = set the date and time, then sign in again
redirect-port-in-use = cannot sign in to { $server }: port { $port } is in use
    .hint = end the program that uses it, or change redirect_port of this server
redirect-port-used-by-sign-in = cannot sign in to { $server }: the sign-in to { $other } uses port { $port }
    .hint = finish or cancel that one first, or give the servers different redirect_ports
no-client-registration = the authorization server { $issuer } of { $server } does not let applications register themselves
    .hint = have Postern registered there and set the client id of this server
client-secret-missing = the sign-in to { $server } needs the secret `{ $secret }`
    .hint = store it with `postern secrets set { $secret }`, then sign in again
no-device-code = the authorization server { $issuer } of { $server } offers no sign-in by device code
    .hint = sign in with a browser
client-credentials-need-no-sign-in = { $server } uses client credentials and needs no sign-in
    .hint = use it as it is
server-needs-no-sign-in = { $server } asks for no sign-in
    .hint = use it as it is
server-names-no-sign-in = { $server } names no way to sign in
    .hint = { -api-key-in-headers }
server-answers-and-names-no-sign-in = { $server } answers { $status } and names no way to sign in
    .hint = { -api-key-in-headers }
server-says-and-names-no-sign-in = { $server } names no way to sign in: { $words }
    .hint = { -api-key-in-headers }
server-answers-says-and-names-no-sign-in = { $server } answers { $status } and names no way to sign in: { $words }
    .hint = { -api-key-in-headers }
-api-key-in-headers = if it wants an API key or another header, write it into `headers` of this server in config.toml
no-such-server-at-gateway = no such server at this gateway ({ $gateway })
    .hint = check the path of the server's URL
nothing-at-path = { $server } has nothing at this path (HTTP { $status })
    .hint = check the URL; it usually ends in /mcp
sign-in-insecure = the sign-in to { $server } would not be safe: { $reason }
    .hint = tell the server's administrator
sign-in-for-foreign-resource = the sign-in to { $server } is refused: it { $reason }
    .hint = if you trust it with that, write { $entry } under this server in config.toml
resource-approval-needed = { $server } asks for access to `{ $resource }`, which you have not approved
    .hint = approve it in the window, or at a terminal with `postern sign-in`
resource-not-approved = access to `{ $resource }` was not allowed for { $server }
    .hint = sign in again if that was not meant
sign-in-malformed = the sign-in to { $server } failed: { $reason }
    .hint = tell the server's administrator
registration-lost = the authorization server of { $server } does not know Postern any more: { $error }
    .hint = sign in again, Postern then registers again
device-code-sign-in-failed = { $reason }
    .hint = { $hint }, or sign in with a browser in place of the device code
endpoint-of-another-issuer = the sign-in to { $server } is refused: its authorization server { $issuer } names the { $endpoint } { $address }, which belongs to { $owner }
    .hint = { $entry }

## Signing out, and secrets

account-not-signed-in = this account is not signed in
    .hint = `postern status` lists the accounts
tokens-not-revoked = signed out locally, but { $issuer } did not revoke the tokens: { $reason }
    .hint = wait until they expire, or end the session on its own account page
secret-not-header-value = this cannot be the value of a header
    .hint = it has to be one line of printable ASCII without blanks around it
