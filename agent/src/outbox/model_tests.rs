//! The queue compared with a model of it: two numbered lists.

use iottly_protocol::StreamClass::{Control, History};
use proptest::prelude::*;

use super::tests::{open, pending, records};
use super::*;

#[derive(Debug, Clone)]
enum Op {
    Push(Vec<(bool, String)>),
    Ack(bool, u64),
    Remint(bool),
    Recover,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec((any::<bool>(), "[a-z]{0,40}"), 1..12).prop_map(Op::Push),
        4 => (any::<bool>(), 0u64..60).prop_map(|(class, upto)| Op::Ack(class, upto)),
        1 => any::<bool>().prop_map(Op::Remint),
        1 => Just(Op::Recover),
    ]
}

#[derive(Default)]
struct Model {
    acked: u64,
    records: Vec<(u64, String)>,
    next: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_is_two_numbered_lists(ops in prop::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().expect("dir");
        let mut queue = open(dir.path());
        let mut models = [Model { next: 1, ..Model::default() }, Model { next: 1, ..Model::default() }];
        let class = |control: bool| if control { Control } else { History };
        for op in ops {
            match op {
                Op::Push(batch) => {
                    let pushed: Vec<_> = batch.iter().map(|(control, text)| pending(class(*control), text)).collect();
                    queue.push_batch(&pushed).expect("push");
                    for (control, text) in batch {
                        let model = &mut models[usize::from(control)];
                        model.records.push((model.next, text));
                        model.next += 1;
                    }
                }
                Op::Ack(control, upto) => {
                    queue.ack(class(control), upto).expect("ack");
                    let model = &mut models[usize::from(control)];
                    model.acked = model.acked.max(upto.min(model.next - 1));
                    model.records.retain(|(seq, _)| *seq > upto);
                }
                Op::Remint(control) => {
                    queue.remint(class(control)).expect("remint");
                    let model = &mut models[usize::from(control)];
                    model.records.iter_mut().for_each(|(seq, _)| *seq -= model.acked);
                    *model = Model { acked: 0, next: model.records.len() as u64 + 1, records: std::mem::take(&mut model.records) };
                }
                Op::Recover => queue.recover().expect("recover"),
            }
            for class in CLASSES {
                let model = &models[index(class)];
                let info = queue.stream(class);
                prop_assert_eq!((info.oldest, info.next), (model.acked + 1, model.next));
                prop_assert_eq!(&records(&mut queue, class), &model.records);
            }
        }
    }
}
