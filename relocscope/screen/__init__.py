"""The full screen of `relocscope step`: what `stepping` knows, a pane a module, round one command line.

`app` puts it together, `keys` says which key says which command, `work` carries commands out in a thread of their own.
Panes are given a `Scene` and only look: nothing but a command moves or changes the session.
"""
