# ウィンドウのテキスト。

## 操作

action-cancel = キャンセル
action-close = 閉じる
action-copied = コピーしました
action-copy = { $what }をコピー
action-dismiss = 閉じる
action-refresh = 最新の情報に更新
action-sign-in = サインイン
action-try-again = 再試行

## 枠

shell-pages = ページ
shell-attention = { $count } 個のサーバーで対応が必要です

## 接続の切断

lost-title = バックグラウンド サービスが停止しています
lost-again = 再接続しています。アプリも再接続を待つため、処理は失われません。
lost-connecting = Postern のバックグラウンド サービスに接続しています

## ウィンドウの異常

crash-title = このウィンドウで問題が発生しました
crash-about = バックグラウンド サービスに影響はなく、アプリは引き続き動作します。続行するには、ウィンドウを再読み込みしてください。
crash-reload = 再読み込み

## HTTP

http-gone = `postern ui` に接続できません
http-gone-hint = `postern ui` をもう一度実行し、表示されるアドレスを開いてください。
http-refused = このページのリンクは 1 回しか使用できず、既に使用されています
http-status = `postern ui` から HTTP ステータス { $status } が返されました

## 問題

problem-unexpected = 予期しないエラーが発生しました: { $detail }
problem-try-again = もう一度お試しください。
problem-reply = バックグラウンド サービスから不明な応答がありました ({ $reply })
problem-update = Postern を更新し、いったん終了してからもう一度起動してください。

## 認証エラー

auth-error-actor-you = ご自身で対処できます。
auth-error-actor-administrator = 組織の管理者による対処が必要です。
auth-error-actor-owner = アプリケーションの所有者による対処が必要です。
auth-error-actor-time = この問題は自動的に解消します。しばらくしてから、もう一度お試しください。
auth-error-correlation = 関連付け ID: { $id }
auth-error-details = 詳細
auth-error-admin-link = 管理者用リンク

## サインイン

sign-in-waiting = { $server } へのサインインを待っています
sign-in-stuck = { $server } へのサインインに使うブラウザーを開けませんでした
sign-in-about = ブラウザーで新しく開いたタブでサインインしてください。タブが開かない場合は、リンクをコピーし、このコンピューターのブラウザーで開いてください。
sign-in-enter-code = コードを入力して { $server } にサインインしてください
sign-in-about-code = 任意のデバイスで次のページを開き、{ $until } までにコードを入力してください。
sign-in-code = コード
sign-in-link = サインイン リンク
sign-in-cancel = サインインをキャンセル

## アクセスの確認

approval-title = { $server } が次のリソースへのアクセスを求めています
approval-about = 許可すると、Postern は { $issuer } でサインインを行い、このリソースのトークンを { $server } に送信します。このサーバーを信頼し、このアクセスを任せられる場合にのみ許可してください。
approval-previous = 以前に許可したアクセス先は { $previous } です。
approval-audience = このリソースのトークンの対象 (audience) は、現在 { $audience } です。
approval-previous-audience = 以前に許可した対象 (audience) は { $audience } です。
approval-other-server = サーバー { $server } のトークンも、対象 (audience) が同じです。2 つのサーバーは、互いのトークンを使用できることになります。
approval-allow = アクセスを許可
approval-on-page = 最初に、このサーバーに { $resource } へのアクセスを許可するかどうかを確認するページが表示されます。

## アカウント

account-title = アカウント
account-none = 未サインイン
account-none-about = サーバーにサインイン
account-none-long = サーバーにサインインすると、ここにアカウントが表示されます。
account-unnamed = 名前のないアカウント
account-signed-in = サインイン済み
account-sign-in-needed = 再サインインが必要
account-others = ほか { $count } 個のアカウント
account-sign-out = サインアウト
account-everywhere = ブラウザーのセッションも終了する
account-everywhere-about = このブラウザーのすべてのサイトから、このアカウントをサインアウトするページを開きます。
account-sign-out-named = 「{ $name }」をサインアウト
account-sign-out-title = 「{ $name }」をサインアウトしますか?
account-sign-out-about = このアカウントのトークンは削除され、承認サーバーが対応している場合は無効になります。もう一度サインインするまで、アプリからサーバーにアクセスできなくなります。

## ようこそ

welcome-title = 最初のサーバーを追加
welcome-about = 一度サインインすると、このコンピューター上のすべての MCP アプリで、資格情報の要らないローカル エンドポイントを使用できます。
welcome-next = 次の手順: ブラウザーでサインインし、[アプリ] で Claude Desktop にサーバーを追加します。

## サーバーの追加

add-title = サーバーの追加
add-url = サーバーの URL
add-url-about = 組織から案内された MCP エンドポイントを入力してください。
add-url-wrong = 完全な URL を入力してください (例: https://mcp.example.com/snippets/mcp)
add-url-insecure = https を使用してください。http は、このコンピューターに対してのみ使用できます。
add-name = 名前
add-name-about = サーバーを識別する名前です。半角の英小文字、数字、ハイフン (-) を使用できます。
add-name-wrong = 半角の英小文字、数字、ハイフン (-) を使い、1 ～ 63 文字で入力してください。
add-submit = サーバーを追加
add-use-found = 代わりに { $url } を追加
add-anyway = このまま追加

## サーバー

servers-foreign-scopes = このサーバーは他のサーバーのリソースへのアクセスを求めましたが、Postern はそのアクセスを要求しませんでした。サーバーの管理者に連絡してください。
servers-nav = サーバー
servers-title = サーバー
servers-about = このコンピューター上のアプリが Postern 経由で接続する MCP サーバーです。
servers-add = サーバーを追加
servers-ephemeral = 一時的
servers-sign-in-needed = { $name } を使用するには、ブラウザーでサインインしてください。
servers-untried = { $name } のツールを表示するには、ブラウザーでサインインしてください。
servers-endpoint = ローカル エンドポイント
servers-sse-endpoint = SSE エンドポイント
servers-socket-endpoint = ソケット エンドポイント
servers-headers = ヘッダー
servers-no-endpoint = なし ([設定] で確認してください)
servers-account = アカウント
servers-no-account = なし
servers-change-account = 変更
servers-other-account = 別のアカウント…
servers-sessions = 使用中のアプリ
servers-no-sessions = なし
servers-session = { $host } ({ $transport }、{ $since } から)
servers-session-idle = { $host } ({ $transport }、{ $since } から待機中)
servers-session-host = 名前のないアプリ
servers-test = 接続をテスト
servers-tested = { $server-info } が { $milliseconds } ミリ秒で応答しました。ツールは { $count } 個です (MCP { $protocol-version })。
servers-keep = このサーバーを残す
servers-remove = 削除
servers-remove-title = { $name } を削除しますか?
servers-remove-about = このサーバーのローカル エンドポイントは、アプリからすぐに使用できなくなります。アプリのファイルに追加した項目は、[アプリ] で削除するまで残ります。

## サーバーの状態

server-state-unknown = 未使用
server-state-connecting = 接続中
server-state-ready = 準備完了
server-state-sign-in-needed = サインインが必要
server-state-failed = エラー

## ツール

tools-title = ツール
tools-unseen = ツールはまだ取得されていません。接続をテストすると読み込まれます。
tools-none = このサーバーが提供するツールはありません。
tools-try = 試す
tools-try-named = { $tool } を試す
tools-call-title = { $server } の { $tool }
tools-arguments-as = 引数の入力方法
tools-form = フォーム
tools-json = JSON
tools-text = テキスト
tools-arguments = 引数
tools-arguments-about = ツールの入力スキーマに従う JSON オブジェクトを入力します。
tools-arguments-wrong = JSON オブジェクトではありません: { $detail }
tools-no-arguments = このツールに引数はありません。
tools-schema = 入力スキーマ
tools-show-schema = 入力スキーマを表示
tools-hide-schema = 入力スキーマを非表示
tools-run = 実行
tools-answer = 結果
tools-answer-as = 結果の表示方法
tools-answered-well = 完了
tools-answered-error = ツールがエラーを返しました

## 同意

consents-nav = アクセス
consents-title = アクセス
consents-about = ゲートウェイで行った同意と、その日付です。
consents-none = 同意はありません
consents-none-about = ゲートウェイ経由でサインインしてアクセスを許可すると、同意がここに表示され、取り消せるようになります。
consents-loading = ゲートウェイから同意を読み込んでいます
consents-not-asked = 取得できないサーバー: { $servers }
consents-not-asked-server = { $server } ({ $reason })
consents-via = { $via } 経由の同意
consents-grant = { $client } に { $server } の使用を許可
# $day は「2026年5月1日」のような日付。
consents-since = { $day }から
consents-scopes = スコープ
consents-no-scopes = なし
consents-revoke = 同意を取り消す
consents-revoke-named = { $server } の同意を取り消す
consents-revoke-title = { $server } の同意を取り消しますか?
consents-revoke-about = ゲートウェイはアクセスを直ちに停止します。次に使用するときは、サインインしてもう一度許可する必要があります。

## アプリ

hosts-nav = アプリ
hosts-title = アプリ
hosts-about = このコンピューターで、Postern 経由でサーバーを使用できるアプリです。
hosts-loading = アプリを検索しています
hosts-path = ファイル パス
hosts-no-file = ファイルはまだありません。サーバーを追加すると作成されます
hosts-no-servers = サーバーはまだありません
hosts-no-servers-about = 先に [サーバー] でサーバーを追加してください。
hosts-added = 追加済み
hosts-add = { $host } に追加
hosts-add-named = { $server } を { $host } に追加
hosts-remove = 削除…
hosts-remove-named = { $server } を { $host } から削除
hosts-add-title = { $server } を { $host } に追加
hosts-remove-title = { $server } を { $host } から削除
hosts-change-about = 変更されるのは次の行だけです。変更の前に、ファイルのバックアップが作成されます。
hosts-diff = ファイルの変更内容
hosts-nothing = ファイルの内容は既に正しいため、変更の必要はありません。
hosts-apply = 変更を適用
hosts-made = ファイルを変更しました。
hosts-backup = 変更前のファイルのバックアップ:

## 設定

settings-nav = 設定
settings-title = 設定
settings-about = アカウント、ウィンドウ、サーバー モード、バックグラウンド サービスの設定です。

## アプリの設定

app-title = 外観と起動
app-scheme = 配色
app-auto = システム
app-light = ライト
app-dark = ダーク
app-autostart = ログイン時に起動
app-autostart-about = アプリで必要になるまで、Postern は通知領域 (macOS ではメニュー バー) で待機します。

## バックグラウンド サービス

bridge-title = バックグラウンド サービス
bridge-version = バージョン
bridge-version-about = サインイン情報を保存するプロセスです。
bridge-version-value = { $version } · プロセス { $pid }
bridge-http = HTTP アドレス
bridge-http-about = Streamable HTTP または SSE を使用するアプリ用です。
bridge-no-http = 使用できません
bridge-vault = トークンの保存先
bridge-config = 構成ファイル

## トークンの保存先

vault-keychain = キーチェーン
vault-key-file = キー ファイル
vault-locked = キーチェーンがロック中
vault-absent = キーチェーンなし
vault-behind = 未保存

## サーバー モード

server-mode-title = サーバー モード
server-mode-about = 付属のゲートウェイをこのコンピューターで実行し、MCP サーバーの前に配置します。
server-mode-unconfigured = 構成されていません
server-mode-off = ゲートウェイはオフです
server-mode-starting = ゲートウェイを起動しています
server-mode-running = ゲートウェイは実行中です
server-mode-failed = ゲートウェイが停止しました
server-mode-running-about = プロセス { $pid }。Postern とともに終了します。
server-mode-configure = 構成…
server-mode-start = 起動
server-mode-stop = 停止
server-mode-address = アドレス
server-mode-form-title = サーバー モードの構成
server-mode-form-about = ゲートウェイは、お使いの Entra アプリケーションでユーザーのサインインを行い、ユーザーの呼び出しを MCP サーバーに転送します。
server-mode-authority = Entra の機関 URL (authority)
server-mode-authority-about = ユーザーのサインイン先のテナントです。
server-mode-client-id = アプリケーション (クライアント) ID
server-mode-client-id-about = ゲートウェイの [アプリの登録] に表示されます。
server-mode-client-secret = クライアント シークレット
server-mode-client-secret-about = 現在のユーザーのみが読み取れるファイルに保存されます。
server-mode-show-secret = クライアント シークレットを表示
server-mode-server-url = ゲートウェイの背後の MCP サーバー
server-mode-server-url-about = ゲートウェイが保護するエンドポイントです。
server-mode-server = サーバー名
server-mode-server-about = URL の一部になります。半角の英小文字、数字、ハイフン (-) を使用できます。
server-mode-port = ポート
server-mode-port-about = このコンピューターからのみ接続できます。
server-mode-port-wrong = ポートには 1 ～ 65535 の整数を入力してください。
server-mode-missing = 必須項目です。
server-mode-save = 構成を保存

## サーバー モードのバッジ

server-mode-badge-unconfigured = オフ
server-mode-badge-off = オフ
server-mode-badge-starting = 起動中
server-mode-badge-running = 実行中
server-mode-badge-failed = エラー

## 診断

doctor-title = 診断
doctor-label = 診断を実行
doctor-about = 構成、キーチェーン、ネットワーク、すべてのサーバーを確認します。
doctor-run = 実行
doctor-ok = 正常
doctor-warning = 警告
doctor-failed = 失敗
