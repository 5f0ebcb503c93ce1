# Why a request got no response. Each text is also part of a longer one.

## Certificates

certificate-unknown-issuer = this computer does not trust the certificate authority that issued it
    .hint = { -trust-certificate }
certificate-other-key = this computer trusts a certificate authority with the name of its issuer, but with another key
    .hint = { -trust-certificate }
certificate-authority-as-server = it is the certificate of a certificate authority (CA:TRUE), as `openssl req -x509` makes it, and a server must not use that as its own
    .hint = issue the server a certificate with basicConstraints CA:FALSE and its host in subjectAltName (`openssl req -x509` takes `-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:HOST`), or one that is signed by a certificate authority whose file goes into `extra_ca_files` under [bridge] of config.toml
certificate-version-1 = it is of X.509 version 1, which names no host
    .hint = issue the server a certificate of version 3 with its host in subjectAltName (`openssl x509 -req` takes `-extfile`)
certificate-names-no-host = it names no host (no subjectAltName)
    .hint = issue the server a certificate with `{ $host }` in subjectAltName
certificate-wrong-name = it is for { $names }, not for `{ $host }`
    .hint = use a name in the URL that the certificate is for, or issue the server one for `{ $host }`
certificate-expired = it has expired
    .hint = { -renew-certificate }
certificate-expired-days-ago =
    { $days ->
        [one] it expired { $days } day ago
       *[other] it expired { $days } days ago
    }
    .hint = { -renew-certificate }
certificate-not-yet-valid = it is not valid yet
    .hint = check this computer's clock
certificate-other = { $reason }
    .hint = tell the server's administrators

-trust-certificate = if it is your organisation's, install its certificate in the system, or name its PEM file in `extra_ca_files` under [bridge] of config.toml, then `postern bridge --replace --detach`
-renew-certificate = check this computer's clock; if it is right, the server's administrators have to renew the certificate

certificate-issuer-not-trusted = that of { $host } is issued by { $issuer } and is not trusted: { $reason }

## The server of a session

server-certificate-not-trusted = the server's certificate is not trusted: { $reason }
the-server-without-tls = the server does not speak TLS on that port
    .hint = { -check-port-or-use-http }

## Responses

answers-status = it answers { $status }
server-answers-status = { $server } answers { $status }
invalid-response = it sent an invalid response: { $reason }
response-too-long = the response is too long
trust-store-unusable = the trust store cannot be used: { $reason }
discovery-timed-out = its authorization server could not be discovered in time

## Names and ports

name-unresolved = the name `{ $host }` does not resolve ({ $reason })
    .hint = check the address and the network, and whether a VPN is needed
private-name-unresolved = the name `{ $host }` does not resolve ({ $reason })
    .hint = is this computer on the organisation's network or VPN?
no-tls-on-port = it does not speak TLS on that port
    .hint = { -check-port-or-use-http }
-check-port-or-use-http = check the port; if the server is meant to speak plain HTTP, write http:// in its URL; unless it is on this machine, others on the network can then read and change the traffic, and its entry in config.toml needs `allow_http = true`
