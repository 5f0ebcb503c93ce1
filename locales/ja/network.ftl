# 要求に応答がなかった理由。いずれも、より長い文の一部としても使われる。

## 証明書

certificate-unknown-issuer = 証明書を発行した証明機関が、このコンピューターで信頼されていません
    .hint = { -trust-certificate }
certificate-other-key = 発行者と同じ名前の証明機関がこのコンピューターで信頼されていますが、キーが異なります
    .hint = { -trust-certificate }
certificate-authority-as-server = `openssl req -x509` が作成するような証明機関の証明書 (CA:TRUE) が使われています。サーバー証明書としては使用できません
    .hint = basicConstraints が CA:FALSE で、subjectAltName にホスト名を含む証明書をサーバーに発行するか (`openssl req -x509` では `-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:HOST`)、証明機関が署名した証明書を使い、その証明機関のファイルを config.toml の [bridge] の `extra_ca_files` に指定してください
certificate-version-1 = X.509 バージョン 1 の証明書のため、ホスト名が含まれていません
    .hint = subjectAltName にホスト名を含むバージョン 3 の証明書をサーバーに発行してください (`openssl x509 -req` では `-extfile` を使います)
certificate-names-no-host = 証明書にホスト名が含まれていません (subjectAltName がありません)
    .hint = subjectAltName に `{ $host }` を含む証明書をサーバーに発行してください
certificate-wrong-name = 証明書は { $names } 用で、`{ $host }` 用ではありません
    .hint = 証明書に含まれる名前を URL に使うか、`{ $host }` 用の証明書をサーバーに発行してください
certificate-expired = 証明書の有効期限が切れています
    .hint = { -renew-certificate }
certificate-expired-days-ago = 証明書の有効期限が { $days } 日前に切れています
    .hint = { -renew-certificate }
certificate-not-yet-valid = 証明書の有効期間がまだ始まっていません
    .hint = このコンピューターの時計を確認してください
certificate-other = { $reason }
    .hint = サーバーの管理者に連絡してください

-trust-certificate = 組織の証明機関の場合は、その証明書をシステムにインストールするか、PEM ファイルを config.toml の [bridge] の `extra_ca_files` に指定してから、`postern bridge --replace --detach` を実行してください
-renew-certificate = このコンピューターの時計を確認してください。時計が正しい場合は、サーバーの管理者が証明書を更新する必要があります

certificate-issuer-not-trusted = { $host } の証明書は { $issuer } が発行したもので、信頼されていません: { $reason }

## セッションのサーバー

server-certificate-not-trusted = サーバーの証明書が信頼されていません: { $reason }
the-server-without-tls = サーバーのこのポートでは TLS が使われていません
    .hint = { -check-port-or-use-http }

## 応答

answers-status = { $status } が返されました
server-answers-status = { $server } から { $status } が返されました
invalid-response = 無効な応答が返されました: { $reason }
response-too-long = 応答が長すぎます
trust-store-unusable = 信頼された証明書のストアを使用できません: { $reason }
discovery-timed-out = 承認サーバーの情報を時間内に取得できませんでした

## 名前とポート

name-unresolved = 名前 `{ $host }` を解決できません ({ $reason })
    .hint = アドレスとネットワーク、VPN が必要かどうかを確認してください
private-name-unresolved = 名前 `{ $host }` を解決できません ({ $reason })
    .hint = このコンピューターが組織のネットワークまたは VPN に接続されているかどうかを確認してください
no-tls-on-port = このポートでは TLS が使われていません
    .hint = { -check-port-or-use-http }
-check-port-or-use-http = ポートを確認してください。サーバーが暗号化されていない HTTP を使う場合は、URL に http:// を指定してください。サーバーがこのコンピューター上にない場合は、ネットワーク上の第三者が通信を読み取り、変更できるようになるため、config.toml のサーバーの項目に `allow_http = true` が必要です
