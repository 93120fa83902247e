//! Dates: native, with the device's clock, in UTC.

use crate::host::{Setup, check};

#[test]
fn dates_are_native_and_utc() {
    check(&[
        (
            "now",
            "log(Date.now(), new Date().getTime(), +new Date());",
            "1700000000000 1700000000000 1700000000000",
        ),
        (
            "as a function",
            "log(Date());",
            "Tue Nov 14 2023 22:13:20 GMT+0000",
        ),
        (
            "toISOString",
            "log(new Date(0).toISOString(), new Date().toISOString());",
            "1970-01-01T00:00:00.000Z 2023-11-14T22:13:20.000Z",
        ),
        (
            "JSON",
            "send_msg({ at: new Date(5) });",
            "sent: {\"at\":\"1970-01-01T00:00:00.005Z\"}",
        ),
        (
            "fields",
            "const d = new Date(2024, 1, 29, 12, 30, 15, 250); log(d.getFullYear(), d.getMonth(), d.getDate(), d.getDay(), d.getHours(), d.getMinutes(), d.getSeconds(), d.getMilliseconds());",
            "2024 1 29 4 12 30 15 250",
        ),
        (
            "local time is UTC",
            "const d = new Date(2024, 5, 1); log(d.getTimezoneOffset(), d.getHours() === d.getUTCHours(), d.toISOString());",
            "0 true 2024-06-01T00:00:00.000Z",
        ),
        (
            "overflow of fields",
            "log(new Date(2023, 12, 32).toISOString(), new Date(2024, 0, 0).toISOString());",
            "2024-02-01T00:00:00.000Z 2023-12-31T00:00:00.000Z",
        ),
        (
            "setters",
            "const d = new Date(0); d.setUTCFullYear(2020, 1, 29); d.setHours(25); log(d.toISOString());",
            "2020-03-01T01:00:00.000Z",
        ),
        (
            "parsing",
            "log(Date.parse('2024-02-29T10:00:00Z'), Date.parse('2024-02-29'), Date.parse('2024-02-29T10:00:00+02:00'), Date.parse('nonsense'));",
            "1709200800000 1709164800000 1709193600000 NaN",
        ),
        (
            "parsing other formats",
            "log(new Date('Thu, 29 Feb 2024 10:00:00 GMT').getTime(), new Date('2024-02-29 10:00').toISOString());",
            "1709200800000 2024-02-29T10:00:00.000Z",
        ),
        (
            "Date.UTC",
            "log(Date.UTC(2024, 1, 29), Date.UTC(99, 0));",
            "1709164800000 915148800000",
        ),
        (
            "invalid dates",
            "const d = new Date(NaN); log(String(d), d.getTime()); try { d.toISOString(); } catch (e) { log(e.name); }",
            "Invalid Date NaN\nRangeError",
        ),
        (
            "limits",
            "log(new Date(8.64e15).toISOString(), new Date(8.64e15 + 1).getTime());",
            "+275760-09-13T00:00:00.000Z NaN",
        ),
        (
            "before 1970 and after 2038",
            "log(new Date(-1).toISOString(), new Date(2 ** 41).toISOString(), new Date(-1).getFullYear(), new Date(2 ** 41).getHours());",
            "1969-12-31T23:59:59.999Z 2039-09-07T15:47:35.552Z 1969 15",
        ),
        (
            "differences",
            "log(new Date(2024, 2, 1) - new Date(2024, 1, 1));",
            "2505600000",
        ),
        (
            "subclasses",
            "class D extends Date { year() { return this.getFullYear(); } } log(new D(0).year(), new D() instanceof Date);",
            "1970 true",
        ),
        ("performance.now", "log(performance.now());", "1.5"),
        (
            "texts",
            "const d = new Date(0); log(d.toString()); log(d.toUTCString()); log(d.toDateString(), d.toTimeString());",
            "Thu Jan 01 1970 00:00:00 GMT+0000\nThu, 01 Jan 1970 00:00:00 GMT\nThu Jan 01 1970 00:00:00 GMT+0000",
        ),
    ]);
}

#[test]
fn a_script_reads_the_clock_at_its_top_level() {
    let mut script =
        Setup::new("const born = Date.now(); function loop() { return Date.now() - born + 1; }").start();
    assert_eq!(script.tick(), Some(1));
}
