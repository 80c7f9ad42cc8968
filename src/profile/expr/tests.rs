//! What expressions say, what they come to, and what is refused in which words.
