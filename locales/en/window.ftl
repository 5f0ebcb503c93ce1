# Texts of the window.

## action

action-cancel = Cancel
action-close = Close
action-copied = Copied
action-copy = Copy { $what }
action-dismiss = Dismiss
action-refresh = Refresh
action-sign-in = Sign in
action-try-again = Try again

## shell

shell-pages = Pages
shell-attention =
    { $count ->
        [one] { $count } server needs attention
       *[other] { $count } servers need attention
    }

## lost

lost-title = Postern's background service is not running
lost-again = Reconnecting. Your apps wait for it too, so nothing is lost.
lost-connecting = Connecting to Postern's background service

## crash

crash-title = This window has a problem
crash-about = The background service is not affected, and your apps keep working. Reload the window to continue.
crash-reload = Reload

## http

http-gone = The page cannot reach `postern ui`
http-gone-hint = Run `postern ui` again and open the address it prints.
http-refused = This page's link can be used only once and was used before
http-status = `postern ui` returned HTTP status { $status }

## problem

problem-unexpected = Unexpected error: { $detail }
problem-try-again = Try again.
problem-reply = The background service sent an unknown response ({ $reply })
problem-update = Update Postern, then quit it and start it again.

## auth-error

auth-error-actor-you = You can do this yourself.
auth-error-actor-administrator = An administrator of your organisation must do this.
auth-error-actor-owner = The application's owner must do this.
auth-error-actor-time = This resolves itself. Try again later.
auth-error-correlation = Correlation ID: { $id }
auth-error-details = details
auth-error-admin-link = administrator's link

## sign-in

sign-in-waiting = Waiting for you to sign in to { $server }
sign-in-stuck = The browser could not be opened to sign in to { $server }
sign-in-about = Sign in in the browser tab that just opened. If none opened, copy the link into a browser on this computer.
sign-in-enter-code = Enter a code to sign in to { $server }
sign-in-about-code = Open this page on any device and enter the code there before { $until }.
sign-in-code = code
sign-in-link = sign-in link
sign-in-cancel = Cancel sign-in

## approval

approval-title = { $server } asks for access to
approval-about = Postern will sign you in at { $issuer } and send { $server } tokens for it. Allow this only if you trust this server with that access.
approval-previous = Previously you allowed access to { $previous }.
approval-audience = Its tokens now have the audience { $audience }.
approval-previous-audience = Previously you allowed the audience { $audience }.
approval-other-server = Tokens of the server { $server } have this audience too. Each server could use the other's tokens.
approval-allow = Allow access
approval-on-page = The page first asks whether this server may have access to { $resource }.

## account

account-title = Accounts
account-none = Not signed in
account-none-about = Sign in to a server
account-none-long = Accounts appear here once you sign in to a server.
account-unnamed = Unnamed account
account-signed-in = Signed in
account-sign-in-needed = Must sign in again
account-others =
    { $count ->
        [one] and { $count } more account
       *[other] and { $count } more accounts
    }
account-sign-out = Sign out
account-everywhere = End the browser's session too
account-everywhere-about = Opens a page that signs this account out of every site in this browser.
account-sign-out-named = Sign out { $name }
account-sign-out-title = Sign out { $name }?
account-sign-out-about = Postern deletes this account's tokens and revokes them if the authorization server supports it. Your apps lose access until you sign in again.

## welcome

welcome-title = Add your first server
welcome-about = Postern signs you in once and gives every MCP app on this computer a local endpoint that needs no credential.
welcome-next = Next: sign in with your browser, then add the server to Claude Desktop under Apps.

## add

add-title = Add a server
add-url = Server URL
add-url-about = The MCP endpoint, as your organisation gave it to you.
add-url-wrong = Enter the full URL, for example https://mcp.example.com/snippets/mcp
add-url-insecure = Use https. Plain http is allowed for this computer only.
add-name = Name
add-name-about = Used by you and your apps. Allowed are a to z, 0 to 9 and -.
add-name-wrong = Use 1 to 63 characters of a to z, 0 to 9 and -.
add-submit = Add server
add-use-found = Add { $url } instead
add-anyway = Add anyway

## servers

servers-foreign-scopes = This server asked for access to other servers' resources. Postern did not request it. Tell the server's administrators.
servers-nav = Servers
servers-title = Servers
servers-about = MCP servers that apps on this computer reach through Postern.
servers-add = Add server
servers-ephemeral = Temporary
servers-sign-in-needed = Sign in with your browser to use { $name }.
servers-untried = Sign in with your browser to see the tools of { $name }.
servers-endpoint = Local endpoint
servers-sse-endpoint = SSE endpoint
servers-socket-endpoint = Socket endpoint
servers-headers = Headers
servers-no-endpoint = None: see Settings
servers-account = Account
servers-no-account = None
servers-change-account = Change
servers-other-account = Another account…
servers-sessions = In use by
servers-no-sessions = Not in use
servers-session = { $host } ({ $transport }, since { $since })
servers-session-idle = { $host } ({ $transport }, idle since { $since })
servers-session-host = Unnamed app
servers-test = Test connection
servers-tested =
    { $count ->
        [one] { $server-info } responded in { $milliseconds } ms with { $count } tool (MCP { $protocol-version }).
       *[other] { $server-info } responded in { $milliseconds } ms with { $count } tools (MCP { $protocol-version }).
    }
servers-keep = Keep this server
servers-remove = Remove
servers-remove-title = Remove { $name }?
servers-remove-about = Apps lose its local endpoint at once. Entries in the files of apps stay until you remove them under Apps.

## server-state

server-state-unknown = Not used yet
server-state-connecting = Connecting
server-state-ready = Ready
server-state-sign-in-needed = Sign-in needed
server-state-failed = Not working

## tools

tools-title = Tools
tools-unseen = Not known yet. Test the connection to load them.
tools-none = This server offers no tools.
tools-try = Try
tools-try-named = Try { $tool }
tools-call-title = { $tool } on { $server }
tools-arguments-as = Enter the arguments as
tools-form = Form
tools-json = JSON
tools-text = Text
tools-arguments = Arguments
tools-arguments-about = A JSON object that matches the tool's input schema.
tools-arguments-wrong = Not a JSON object: { $detail }
tools-no-arguments = This tool takes no arguments.
tools-schema = Input schema
tools-show-schema = Show the input schema
tools-hide-schema = Hide the input schema
tools-run = Run
tools-answer = Result
tools-answer-as = Show the result as
tools-answered-well = Done
tools-answered-error = The tool returned an error

## consents

consents-nav = Access
consents-title = Access
consents-about = Consents that you gave at gateways, and since when.
consents-none = No consents
consents-none-about = When you sign in through a gateway and allow access, the consent appears here and can be revoked.
consents-loading = Loading consents from the gateways
consents-not-asked = Not available: { $servers }
consents-not-asked-server = { $server } ({ $reason })
consents-via = Granted through { $via }
consents-grant = { $client } may use { $server }
consents-since = Since { $day }
consents-scopes = Scopes
consents-no-scopes = none
consents-revoke = Revoke
consents-revoke-named = Revoke the consent for { $server }
consents-revoke-title = Revoke the consent for { $server }?
consents-revoke-about = The gateway ends the access at once. The next use asks you to sign in and allow it again.

## hosts

hosts-nav = Apps
hosts-title = Apps
hosts-about = Apps on this computer that can use servers through Postern.
hosts-loading = Looking for apps
hosts-path = file path
hosts-no-file = does not exist yet; adding a server creates it
hosts-no-servers = No servers yet
hosts-no-servers-about = Add one under Servers first.
hosts-added = Added
hosts-add = Add to { $host }
hosts-add-named = Add { $server } to { $host }
hosts-remove = Remove…
hosts-remove-named = Remove { $server } from { $host }
hosts-add-title = Add { $server } to { $host }
hosts-remove-title = Remove { $server } from { $host }
hosts-change-about = Only these lines change. A backup of the file is made first.
hosts-diff = Change to the file
hosts-nothing = The file is already correct. There is nothing to change.
hosts-apply = Make this change
hosts-made = The file was changed.
hosts-backup = Backup of the previous file:

## settings

settings-nav = Settings
settings-title = Settings
settings-about = Accounts, this window, server mode and the background service.

## app

app-title = Appearance and start
app-scheme = Colours
app-auto = System
app-light = Light
app-dark = Dark
app-autostart = Start when I log in
app-autostart-about = Postern waits in the tray until an app needs it.

## bridge

bridge-title = Background service
bridge-version = Version
bridge-version-about = The process that stores your sign-ins.
bridge-version-value = { $version } · process { $pid }
bridge-http = HTTP address
bridge-http-about = For apps that use Streamable HTTP or SSE.
bridge-no-http = Not available
bridge-vault = Token storage
bridge-config = Configuration file

## vault

vault-keychain = Keychain
vault-key-file = Key file
vault-locked = Keychain locked
vault-absent = No keychain
vault-behind = Not stored

## server-mode

server-mode-title = Server mode
server-mode-about = Runs the bundled gateway on this computer, in front of your MCP server.
server-mode-unconfigured = Not configured
server-mode-off = The gateway is off
server-mode-starting = The gateway is starting
server-mode-running = The gateway is running
server-mode-failed = The gateway stopped
server-mode-running-about = Process { $pid }. It ends with Postern.
server-mode-configure = Configure…
server-mode-start = Start
server-mode-stop = Stop
server-mode-address = Address
server-mode-form-title = Configure server mode
server-mode-form-about = The gateway signs users in with your Entra application and forwards their calls to your MCP server.
server-mode-authority = Entra authority
server-mode-authority-about = The tenant that users sign in to.
server-mode-client-id = Application (client) ID
server-mode-client-id-about = Of the gateway's app registration.
server-mode-client-secret = Client secret
server-mode-client-secret-about = Stored in a file that only you can read.
server-mode-show-secret = Show the client secret
server-mode-server-url = MCP server behind the gateway
server-mode-server-url-about = The endpoint that the gateway protects.
server-mode-server = Server name
server-mode-server-about = Part of its URL. Allowed are a to z, 0 to 9 and -.
server-mode-port = Port
server-mode-port-about = On this computer only.
server-mode-port-wrong = A port is a whole number from 1 to 65535.
server-mode-missing = This field is required.
server-mode-save = Save configuration

## server-mode-badge

server-mode-badge-unconfigured = Off
server-mode-badge-off = Off
server-mode-badge-starting = Starting
server-mode-badge-running = Running
server-mode-badge-failed = Failed

## doctor

doctor-title = Diagnostics
doctor-label = Run diagnostics
doctor-about = Checks the configuration, the keychain, the network and every server.
doctor-run = Run
doctor-ok = OK
doctor-warning = Warning
doctor-failed = Failed
