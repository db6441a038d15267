//! I7: what clients heard on live streams ascends, leaves nothing out and repeats nothing, across every reconnect.
//!
//! The only witness is what they heard: no server knows what arrived.

use std::collections::BTreeMap;

use crate::findings::Breach;
use crate::history::Heard;

/// Where a client is that follows a live stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    generation: u64,
    sequence: u64,
    topic: String,
}

/// Everyone who follows one, by the name of the following.
pub type Followers = BTreeMap<String, Follower>;

/// I7, of the next thing that somebody heard.
pub fn hear(followers: &mut Followers, heard: &Heard) -> Option<Breach> {
    let wrong = |what: String| Some(Breach::of(&heard.path, format!("{} heard {what}", heard.follower)));
    let Some(now) = parse(&heard.stamp) else {
        return wrong(format!("{:?}, which is no stamp", heard.stamp));
    };
    let before = followers.insert(heard.follower.clone(), now.clone());
    let Some(before) = before else {
        return (!heard.snapshot)
            .then(|| wrong("an event before any snapshot".into()))
            .flatten();
    };
    let (was, is) = ((before.generation, before.sequence), (now.generation, now.sequence));
    if before.topic != now.topic {
        return wrong(format!("{} of another topic", heard.stamp));
    }
    // A fresh snapshot may say what is known already, and never less.
    if heard.snapshot {
        return (is < was)
            .then(|| wrong(format!("a snapshot of {is:?} after {was:?}")))
            .flatten();
    }
    if is <= was {
        return wrong(format!("{is:?} after {was:?}: twice, or backwards"));
    }
    let is_next = before.generation == now.generation && before.sequence + 1 == now.sequence;
    (!is_next)
        .then(|| wrong(format!("{is:?} after {was:?}: something is left out")))
        .flatten()
}

/// `<generation>-<sequence>-<topic>`
fn parse(stamp: &str) -> Option<Follower> {
    let mut parts = stamp.splitn(3, '-');
    Some(Follower {
        generation: parts.next()?.parse().ok()?,
        sequence: parts.next()?.parse().ok()?,
        topic: parts.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn heard(stamp: &str, snapshot: bool) -> Heard {
        Heard {
            heard_at: Timestamp::UNIX_EPOCH,
            follower: "f".into(),
            path: "/v1/orders/ord_1/live".into(),
            stamp: stamp.into(),
            snapshot,
        }
    }

    /// What is wrong with the last of these.
    fn wrong(all: &[(&str, bool)]) -> Option<String> {
        let mut followers = Followers::new();
        let mut last = None;
        for (stamp, snapshot) in all {
            assert_eq!(last, None, "only the last is wrong");
            last = hear(&mut followers, &heard(stamp, *snapshot));
        }
        last.map(|breach| breach.what)
    }

    #[test]
    fn a_snapshot_and_what_follows_it_is_right_also_in_another_life_of_the_data() {
        let all = [
            ("7-1-a", true),
            ("7-2-a", false),
            ("7-2-a", true),
            ("7-3-a", false),
            ("9-1-a", true),
            ("9-2-a", false),
        ];
        assert_eq!(wrong(&all), None);
    }

    #[test]
    fn gaps_repeats_and_steps_back_are_wrong() {
        let after =
            |stamp, snapshot| wrong(&[("7-1-a", true), ("7-2-a", false), (stamp, snapshot)]).unwrap_or_default();
        assert!(after("7-4-a", false).contains("left out"));
        assert!(after("7-2-a", false).contains("twice"));
        assert!(after("7-1-a", true).contains("snapshot"));
        assert!(after("8-3-a", false).contains("left out"));
        assert!(after("7-3-b", false).contains("another topic"));
        assert!(after("here", false).contains("no stamp"));
    }

    #[test]
    fn an_event_before_any_snapshot_is_wrong_and_followers_are_told_apart() {
        assert!(wrong(&[("7-1-a", false)]).is_some());
        let mut followers = Followers::new();
        assert_eq!(hear(&mut followers, &heard("7-5-a", true)), None);
        let other = Heard {
            follower: "g".into(),
            ..heard("7-1-b", true)
        };
        assert_eq!(hear(&mut followers, &other), None);
    }
}
