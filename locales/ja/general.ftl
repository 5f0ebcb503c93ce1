# ほかのテキストを連結するテキスト。

hints-joined = { $first }。{ $second }
list-separator = 、

# ライブラリまたはサーバーのメッセージ。
verbatim = { $text }
