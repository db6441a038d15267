//! The text form of server-sent events, as far as our streams use it.

/// One message: a block with data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
}

/// Takes bytes in whatever pieces they come and gives whole messages.
#[derive(Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    /// Where the search for the end of a block goes on, so that a large one is not searched anew with every piece.
    searched: usize,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is whole; comments and blocks without data are passed over.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            let end = self.buffer[self.searched..]
                .windows(2)
                .position(|pair| pair == b"\n\n")
                .map(|at| at + self.searched);
            let Some(end) = end else {
                self.searched = self.buffer.len().saturating_sub(1);
                return None;
            };
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            self.searched = 0;
            if let Some(message) = parse(&String::from_utf8_lossy(&block)) {
                return Some(message);
            }
        }
    }
}

fn parse(block: &str) -> Option<Message> {
    let (mut id, mut event, mut data) = (None, "message".to_owned(), None::<String>);
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.to_owned()),
            "event" => value.clone_into(&mut event),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    data.map(|data| Message { id, event, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_the_bytes_are_cut() {
        let text = ":\n\nretry: 500\n\nid: 7-1\nevent: snapshot\ndata: {\"a\":1}\n\nid: 7-2\nevent: event\ndata: x\n\n";
        for size in [1, 2, 3, 7, text.len()] {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                parser.feed(piece);
                while let Some(message) = parser.next() {
                    found.push(message);
                }
            }
            let ids: Vec<_> = found.iter().filter_map(|message| message.id.as_deref()).collect();
            assert_eq!(ids, ["7-1", "7-2"], "pieces of {size}");
            assert_eq!(found[0].event, "snapshot");
            assert_eq!(found[0].data, "{\"a\":1}");
        }
    }

    #[test]
    fn data_over_several_lines_is_one_text() {
        let mut parser = Parser::default();
        parser.feed(b"data: a\ndata: b\n\n");
        assert_eq!(parser.next().map(|message| message.data), Some("a\nb".to_owned()));
    }
}
