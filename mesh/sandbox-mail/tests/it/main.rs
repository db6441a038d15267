//! The stand-in as its neighbours meet it: SMTP in plain text, the window over mutual TLS, the real program.

mod dialog;
mod program;
