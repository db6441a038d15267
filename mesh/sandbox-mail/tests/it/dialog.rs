//! What is said over SMTP, line by line.

use mesh_runtime::Shutdown;
use sandbox_mail::office::{Mood, Office};
use sandbox_mail::smtp;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const MAIL: &str = "Subject: Hello\r\n\r\nOne.\r\n..\r\n.";

/// A sender in the middle of a dialog, and what the office has.
struct Sender {
    stream: BufReader<TcpStream>,
    office: Office,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Sender {
    async fn connected() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let office = Office::open(folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        tokio::spawn(smtp::serve(listener, office.clone(), shutdown.clone()));
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut sender = Self {
            stream,
            office,
            shutdown,
            _folder: folder,
        };
        assert_eq!(sender.reply().await, 220);
        sender
    }

    async fn reply(&mut self) -> u16 {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.get(..3).unwrap().parse().unwrap()
    }

    async fn say(&mut self, line: &str) -> u16 {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.reply().await
    }

    async fn say_all(&mut self, lines: &[(&str, u16)]) {
        for (line, reply) in lines {
            assert_eq!(self.say(line).await, *reply, "{line}");
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

#[tokio::test]
async fn a_mail_is_taken_with_its_dots_and_shown_to_whom_it_is_for() {
    let mut sender = Sender::connected().await;
    let dialog = [
        ("EHLO us.example.org", 250),
        ("MAIL FROM:<us@example.org> BODY=8BITMIME", 250),
        ("RCPT TO:<anna@example.org>", 250),
        ("rcpt to:<boris@example.org>", 250),
        ("DATA", 354),
        (MAIL, 250),
        ("NOOP", 250),
        ("QUIT", 221),
    ];
    sender.say_all(&dialog).await;
    let mails = sender.office.mails(Some("boris@example.org"), 0, 10);
    let [mail] = mails.as_slice() else {
        panic!("not one mail: {mails:?}");
    };
    assert_eq!(mail.to, ["anna@example.org", "boris@example.org"]);
    assert_eq!((mail.subject.as_str(), mail.text.as_str()), ("Hello", "One.\n."));
}

#[tokio::test]
async fn recipients_are_refused_or_put_off_by_name_and_by_mood() {
    let mut sender = Sender::connected().await;
    sender
        .say_all(&[("HELO us", 250), ("MAIL FROM:<us@example.org>", 250)])
        .await;
    let by_name = [
        ("RCPT TO:<refused-1@example.org>", 550),
        ("RCPT TO:<put-off@example.org>", 451),
    ];
    sender.say_all(&by_name).await;
    for (mood, reply) in [(Mood::Refusing, 550), (Mood::PuttingOff, 451), (Mood::Accepting, 250)] {
        sender.office.set_mood(mood);
        assert_eq!(sender.say("RCPT TO:<anna@example.org>").await, reply, "{mood:?}");
    }
}

#[tokio::test]
async fn what_comes_out_of_turn_or_out_of_shape_is_refused_and_keeps_nothing() {
    let mut sender = Sender::connected().await;
    let dialog = [
        ("MAIL FROM:<us@example.org>", 503),
        ("EHLO us", 250),
        ("RCPT TO:<anna@example.org>", 503),
        ("DATA", 503),
        ("MAIL FROM: us", 501),
        ("MAIL FROM:<us@example.org>", 250),
        ("MAIL FROM:<us@example.org>", 503),
        ("RCPT TO:<>", 501),
        ("DATA", 503),
        ("STARTTLS", 502),
        ("RSET", 250),
        ("RCPT TO:<anna@example.org>", 503),
    ];
    sender.say_all(&dialog).await;
    assert_eq!(sender.office.mails(None, 0, 10), []);
}

#[tokio::test]
async fn a_mail_that_is_too_big_is_refused_and_the_next_one_taken() {
    let mut sender = Sender::connected().await;
    let begin = [
        ("EHLO us", 250),
        ("MAIL FROM:<us@example.org>", 250),
        ("RCPT TO:<anna@example.org>", 250),
        ("DATA", 354),
    ];
    sender.say_all(&begin).await;
    let line = "x".repeat(1_000);
    let big = vec![line.as_str(); 1_100].join("\r\n") + "\r\n.";
    assert_eq!(sender.say(&big).await, 552);
    sender.say_all(&begin[1..]).await;
    assert_eq!(sender.say(MAIL).await, 250);
    assert_eq!(sender.office.mails(None, 0, 10).len(), 1);
}
