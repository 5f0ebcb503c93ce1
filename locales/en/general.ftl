# Texts that join others.

hints-joined = { $first }; { $second }
list-separator = { ", " }
