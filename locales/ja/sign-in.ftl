# サインイン、トークンの取得、サインアウトのエラー。`$server` は名前または URL。

## 要求に使うトークンがない

sign-in-needed = { $server } へのサインインが必要です: { $reason }
sign-in-needed-unexplained = { $server } へのサインインが必要です: { $reason }
    .hint = Postern でサインインしてください
sign-in-needed-not-by-device-code = { $server } へのサインインが必要です: { $reason }
    .hint = デバイス コードではなくブラウザーでサインインしてください
sign-in-forbidden = { $server } へのサインインは更新されません: { $reason }
token-server-unreachable = 承認サーバー { $issuer } から { $server } のトークンを取得できません: { $reason }
    .hint = ネットワークを確認してください。Postern は自動的に再試行します
token-has-foreign-audience = { $server } のトークンは送信されません。トークンの対象 (audience) `{ $audience }` は { $owner } です
    .hint = サーバーと承認サーバーの管理者に連絡してください。それで正しい場合は、このサーバーの `resource` にその API を指定してください
token-not-granted = { $server } のトークンを取得できません: { $reason }
sign-in-misconfigured = { $server } へのサインインを更新できません: { $reason }
tokens-expire-at-once = トークンの有効期限が発行と同時に切れます
    .hint = このサーバーのクライアント ID、スコープ、登録を確認してください

## 同意

consents-not-offered = { $server } には同意の一覧がありません
    .hint = サーバーのアカウント ページを確認してください
consents-unreachable = { $server } の同意を読み取れませんでした: { $reason }
    .hint = しばらくしてから、もう一度お試しください
consent-unknown = { $server } に同意 `{ $id }` はありません
    .hint = 同意の一覧をもう一度表示してください
consents-malformed = { $server } から無効な同意の一覧が返されました: { $reason }
    .hint = サーバーの管理者に連絡してください

## 貼り付けられたアドレス

pasted-address-not-callback = サインインの完了後にブラウザーに表示されるアドレスではありません
    .hint = 先にブラウザーでサインインしてから、http://localhost または http://127.0.0.1 で始まるアドレス全体をコピーしてください
pasted-address-of-another-sign-in = 別のサインイン、または終了したサインインのアドレスです
    .hint = このサインインのページを開き、最後に表示されるアドレスをコピーしてください
sign-in-ended = サインインは終了しました
    .hint = もう一度開始してください

## トークンの保存

keychain-locked = キーチェーンがロックされています
    .hint = ロックを解除してから、もう一度お試しください
keychain-unusable = キーチェーンを使用できません: { $reason }
    .hint = キーチェーンを起動するか (Linux では gnome-keyring などの Secret Service)、`POSTERN_VAULT=file postern bridge --replace --detach` でキー ファイルを選択してください
vault-key-missing = { $folder } のキーがありません: { $reason }
    .hint = キーを復元するか、フォルダーを削除してもう一度サインインしてください
vault-record-damaged = { $path } のデータが破損しているか、変更されています
    .hint = 削除してから、もう一度サインインしてください
key-file-exposed = キー ファイル { $path } をほかのユーザーが読み取れます
    .hint = chmod 600 { $path } を実行してください
vault-unusable = トークンの保存先 { $path } を使用できません: { $reason }
    .hint = ディスクと書き込みのアクセス許可を確認してください

## クライアントの資格情報

client-credentials-rejected = { $reason }
    .hint = このサーバーのクライアント ID、資格情報、スコープ、リソースと、承認サーバーでのクライアントの登録を確認してください
client-credentials-tokens-refused = Postern が取得したトークンをサーバーが拒否しています
    .hint = このサーバーのスコープとリソースを確認し、クライアントにアクセスを許可するようサーバーの管理者に依頼してください
client-credentials-without-resource = { $issuer } はスコープに基づいて許可しますが、構成にリソースが指定されていません
    .hint = config.toml で、このサーバーの `auth` に `authority` と `resource` を追加してください

## サインインが必要な理由

reason-not-signed-in = サインインしていません
reason-expired = 前回のサインインの有効期間が終了しました
reason-revoked = 前回のサインインが、承認サーバーで無効にされたか、期限切れになりました
reason-interaction-required = 承認サーバーがユーザーの操作を求めています
reason-device-code-refused = デバイス コードによる前回のサインインが、承認サーバーで受け付けられなくなりました
reason-tokens-refused = 前回のサインインのトークンをサーバーが拒否しています
reason-record-damaged = 前回のサインインのデータが破損しています
reason-resource-not-approved = トークンの対象となるリソースが許可されていません
reason-audience-changed = トークンの対象 (audience) が以前と異なるため、許可が必要です

## サインイン

sign-in-declined = { $server } へのサインインが許可されませんでした: { $reason }
sign-in-timed-out = { $server } へのサインインが { $minutes } 分以内に完了しませんでした
    .hint = もう一度開始してください
sign-in-refused = { $server } へのサインインが拒否されました: { $reason }
sign-in-server-unreachable = { $server } に接続できません: { $reason }
    .hint = ネットワークとアドレスを確認してください
authorization-server-busy = 承認サーバー { $issuer } が一時的に応答できません: { $reason }
    .hint = 数分後に、もう一度お試しください
certificate-not-trusted = { $server } の証明書が信頼されていません: { $reason }
server-without-tls = { $server } のこのポートでは TLS が使われていません
    .hint = { -check-port-or-use-http }
server-name-unresolved = { $server } に接続できません: { $reason }
clock-behind = このコンピューターの時計が、{ $server } の承認サーバーより { $minutes } 分遅れています
    .hint = 日付と時刻を設定してから、もう一度サインインしてください
clock-ahead = このコンピューターの時計が、{ $server } の承認サーバーより { $minutes } 分進んでいます
    .hint = 日付と時刻を設定してから、もう一度サインインしてください
redirect-port-in-use = { $server } にサインインできません。ポート { $port } は使用中です
    .hint = ポートを使っているプログラムを終了するか、このサーバーの redirect_port を変更してください
redirect-port-used-by-sign-in = { $server } にサインインできません。ポート { $port } は { $other } へのサインインで使用中です
    .hint = 先にそのサインインを完了またはキャンセルするか、サーバーごとに異なる redirect_port を指定してください
no-client-registration = { $server } の承認サーバー { $issuer } では、アプリケーションが自身を登録できません
    .hint = 承認サーバーに Postern を登録してもらい、このサーバーにクライアント ID を設定してください
client-secret-missing = { $server } へのサインインにはシークレット `{ $secret }` が必要です
    .hint = `postern secrets set { $secret }` で保存してから、もう一度サインインしてください
no-device-code = { $server } の承認サーバー { $issuer } は、デバイス コードによるサインインに対応していません
    .hint = ブラウザーでサインインしてください
client-credentials-need-no-sign-in = { $server } はクライアントの資格情報を使うため、サインインは不要です
    .hint = そのまま使用してください
server-needs-no-sign-in = { $server } はサインインを求めていません
    .hint = そのまま使用してください
server-names-no-sign-in = { $server } にサインインの方法が示されていません
    .hint = { -api-key-in-headers }
server-answers-and-names-no-sign-in = { $server } から { $status } が返され、サインインの方法が示されていません
    .hint = { -api-key-in-headers }
server-says-and-names-no-sign-in = { $server } にサインインの方法が示されていません: { $words }
    .hint = { -api-key-in-headers }
server-answers-says-and-names-no-sign-in = { $server } から { $status } が返され、サインインの方法が示されていません: { $words }
    .hint = { -api-key-in-headers }
-api-key-in-headers = API キーなどのヘッダーが必要な場合は、config.toml で、このサーバーの `headers` に指定してください
no-such-server-at-gateway = このゲートウェイ ({ $gateway }) にそのサーバーはありません
    .hint = サーバーの URL のパスを確認してください
nothing-at-path = { $server } のこのパスには何もありません (HTTP { $status })
    .hint = URL を確認してください。通常は /mcp で終わります
sign-in-insecure = { $server } へのサインインは安全ではありません: { $reason }
    .hint = サーバーの管理者に連絡してください
sign-in-for-foreign-resource = { $server } へのサインインを中止しました: { $reason }
    .hint = サーバーを信頼して許可する場合は、config.toml で、このサーバーに { $entry } を追加してください
resource-approval-needed = { $server } が、許可されていないリソース `{ $resource }` へのアクセスを求めています
    .hint = ウィンドウで許可するか、端末で `postern sign-in` を実行して許可してください
resource-not-approved = { $server } に `{ $resource }` へのアクセスは許可されませんでした
    .hint = 意図したことでない場合は、もう一度サインインしてください
sign-in-malformed = { $server } へのサインインに失敗しました: { $reason }
    .hint = サーバーの管理者に連絡してください
registration-lost = { $server } の承認サーバーに Postern の登録がなくなりました: { $error }
    .hint = もう一度サインインしてください。Postern が再登録されます
device-code-sign-in-failed = { $reason }
    .hint = { $hint }。または、デバイス コードではなくブラウザーでサインインしてください
endpoint-of-another-issuer = { $server } へのサインインを中止しました。承認サーバー { $issuer } の { $endpoint } に指定された { $address } は { $owner } のものです
    .hint = { $entry }

## サインアウトとシークレット

account-not-signed-in = このアカウントはサインインしていません
    .hint = `postern status` でアカウントの一覧を確認してください
tokens-not-revoked = このコンピューターではサインアウトしましたが、{ $issuer } でトークンを無効にできませんでした: { $reason }
    .hint = トークンの期限切れを待つか、{ $issuer } のアカウント ページでセッションを終了してください
secret-not-header-value = ヘッダーの値として使用できません
    .hint = 前後に空白のない、印刷可能な ASCII 文字の 1 行を指定してください
