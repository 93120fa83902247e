//! Health of a device in one line.

use iottly_web::answers::{DeviceHealthDto, FirmwareHealthDto};

use crate::time_text::at;

/// Returns the health of a device as the commands print it.
pub(super) fn health(health: Option<&DeviceHealthDto>) -> String {
    let Some(health) = health else {
        return "not reported".to_owned();
    };
    let mut text = match (health.waiting, health.oldest_ms) {
        (0, _) => "nothing waits".to_owned(),
        (waiting, None) => format!("{waiting} wait"),
        (waiting, Some(age)) => format!("{waiting} wait, oldest {}", span(age)),
    };
    text += &format!(
        "; queue {} of {}",
        size(health.queue_bytes),
        size(health.queue_budget_bytes)
    );
    if health.queue_nearly_full {
        text += ", nearly full";
    }
    text += &format!("; {} lost in {}", health.lost, span(health.up_ms));
    if let Some(firmware) = &health.firmware {
        text += &sandbox(firmware);
    }
    text + &format!(" (reported {})", at(health.at))
}

fn sandbox(firmware: &FirmwareHealthDto) -> String {
    let mut text = format!(
        "; memory {} of {}; longest of {} calls in {} {} ms, {} % of its budget; {} traps, {} restarts",
        size(firmware.memory_bytes),
        size(firmware.memory_limit_bytes),
        firmware.calls,
        span(firmware.over_ms),
        firmware.longest_us.div_ceil(1000),
        firmware.budget_permille.div_ceil(10),
        firmware.traps,
        firmware.restarts
    );
    if let Some(trapped) = firmware.trapped {
        text += &format!(", last trap {}", at(trapped));
    }
    text
}

/// Returns a length of time in the largest fitting unit.
fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Returns a size in the largest fitting unit, rounded up.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::answer::read;

    #[test]
    fn health_is_one_line() {
        let at = json!({"$date": 1_492_598_878_133_i64});
        let stream = json!({"waiting": 0, "bytes": 0, "lost": 0});
        let mut answer = json!({
            "at": at, "up_ms": 7_200_000, "waiting": 412, "oldest_ms": 10_800_000, "lost": 7,
            "queue_bytes": 58 << 20, "queue_budget_bytes": 64 << 20, "queue_nearly_full": true,
            "history": stream, "control": stream,
        });
        let text = |answer: &serde_json::Value| super::health(Some(&read(answer).expect("a health")));
        assert_eq!(
            text(&answer),
            "412 wait, oldest 3 h; queue 58 MiB of 64 MiB, nearly full; 7 lost in 2 h (reported 2017-04-19T10:47:58.133Z)"
        );
        answer["waiting"] = json!(0);
        answer["queue_nearly_full"] = json!(false);
        answer["firmware"] = json!({
            "digest": "", "memory_bytes": 3 << 20, "memory_limit_bytes": 16 << 20, "over_ms": 300_000, "calls": 3000,
            "longest_us": 4200, "budget_permille": 42, "traps": 2, "restarts": 1, "trapped": at,
        });
        assert_eq!(
            text(&answer),
            "nothing waits; queue 58 MiB of 64 MiB; 7 lost in 2 h; memory 3 MiB of 16 MiB; longest of 3000 calls in 5 min 5 ms, \
             5 % of its budget; 2 traps, 1 restarts, last trap 2017-04-19T10:47:58.133Z (reported 2017-04-19T10:47:58.133Z)"
        );
        assert_eq!(super::health(None), "not reported");
    }
}
