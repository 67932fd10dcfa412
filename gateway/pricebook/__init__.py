"""The price book: dated rows, one YAML file for each provider (README.md says where each number comes from), and two
public catalogues to hold it against.

catalogue is the form that both are read in; litellm_map and genai read them; drift says where book and catalogues
disagree; propose writes rows for a person to review. Nothing here changes the book, and nothing reads it: its rows come
in. The rule a newcomer would break: a catalogue never prices traffic.
"""
