"""Which kind of task a prompt is, told by its words in some 100 microseconds: code, maths, translation and so on.

The kinds, and the weights that tell them apart, come with a trained file; the one that ships is shipped.SHIPPED. A
caller's own tag or route knows better than any classifier, and is asked first.
"""
