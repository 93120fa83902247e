//! The check of a history for lost and repeated messages.

use std::collections::BTreeMap;

use serde_json::Value;

/// Checks that in every stream of a history each number from 1 to the highest is one entry or part of one
/// gap.
///
/// Returns the count of numbers in all streams.
///
/// # Panics
/// At the first number that is missing or repeated.
pub fn every_seq_exactly_once(history: &[Value]) -> u64 {
    let mut streams: BTreeMap<String, BTreeMap<u64, u32>> = BTreeMap::new();
    for message in history {
        if let Some(gap) = message["payload"]
            .get("gap")
            .filter(|_| message["type"] == "iottlyagent")
        {
            let stream = streams
                .entry(gap["stream"].as_str().expect("stream").to_owned())
                .or_default();
            for seq in gap["from"].as_u64().expect("from")..=gap["to"].as_u64().expect("to") {
                *stream.entry(seq).or_default() += 1;
            }
        } else if let (Some(stream), Some(seq)) = (message["stream"].as_str(), message["seq"].as_u64()) {
            *streams
                .entry(stream.to_owned())
                .or_default()
                .entry(seq)
                .or_default() += 1;
        }
    }
    let mut total = 0;
    for (stream, seqs) in streams {
        let highest = *seqs.keys().next_back().expect("a stream has entries");
        for seq in 1..=highest {
            assert_eq!(
                seqs.get(&seq),
                Some(&1),
                "stream {stream}, seq {seq} of {highest}"
            );
        }
        total += highest;
    }
    total
}
