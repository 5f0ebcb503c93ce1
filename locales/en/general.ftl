# Texts that join others.

hints-joined = { $first }; { $second }
list-separator = { ", " }

# Words of a library or of a server.
verbatim = { $text }
