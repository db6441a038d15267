//! I6: a read with a token is never older than the token.
//!
//! The only witness is what clients were shown: no store knows what was answered.

use crate::findings::Breach;
use crate::history::Read;

/// I6, of one read: everything in the answer that the token names is at least as new as it says.
pub fn honoured(read: &Read) -> Vec<Breach> {
    let older = read.asked.iter().filter_map(|(stream, asked)| {
        let shown = read.shown.get(stream)?;
        let what = || format!("{} showed version {shown} to somebody who had seen {asked}", read.path);
        (shown < asked).then(|| Breach::of(stream, what()))
    });
    older.collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn read(asked: &[(&str, u64)], shown: &[(&str, u64)]) -> Read {
        let versions = |pairs: &[(&str, u64)]| pairs.iter().map(|(id, version)| ((*id).to_owned(), *version)).collect();
        Read {
            read_at: Timestamp::UNIX_EPOCH,
            path: "/v1/orders".into(),
            asked: versions(asked),
            shown: versions(shown),
        }
    }

    #[test]
    fn what_is_older_than_its_token_is_counted_and_nothing_else() {
        let asked = [("ord_1", 3), ("bas_1", 7)];
        assert_eq!(honoured(&read(&asked, &[("ord_1", 3)])), []);
        assert_eq!(honoured(&read(&asked, &[("ord_1", 5), ("bas_1", 7), ("ord_2", 1)])), []);
        let older = honoured(&read(&asked, &[("ord_1", 2), ("bas_1", 6)]));
        assert_eq!(older.len(), 2);
        assert_eq!(older[0].id, "bas_1");
        assert!(older[1].what.contains("showed version 2"));
    }
}
