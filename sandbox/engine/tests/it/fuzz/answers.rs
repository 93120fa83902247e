//! A host that answers every call of the engine with an arbitrary value of the right type.

use std::collections::BTreeMap;
use std::time::Instant;

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, ResourceDynamic, ResourceType, Type, Val};
use wasmtime::{Engine, StoreContextMut, StoreLimits};

use super::random::Random;

/// Most calls of the host that one script may make.
const MAX_CALLS: u32 = 20_000;
/// Most resources that the world has.
const MAX_RESOURCES: u32 = 16;

/// Knowledge of a host about its script.
pub(super) struct Subject {
    pub(super) random: Random,
    pub(super) files: BTreeMap<String, String>,
    pub(super) limits: StoreLimits,
    pub(super) memory: u32,
    pub(super) deadline: Instant,
    pub(super) calls: u32,
    /// The script, or the engine for it, said that it is out of memory.
    pub(super) lacked: bool,
}

/// An end of the script for a reason that has a name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Ended(pub(super) &'static str);

type Caller<'a> = StoreContextMut<'a, Subject>;

/// Defines every import of the engine.
pub(super) fn link(
    linker: &mut Linker<Subject>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    let mut resources = 0;
    for (name, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = item.ty else {
            continue;
        };
        let ours = name.starts_with("iottly:firmware/script@");
        let mut instance = linker.instance(name)?;
        for (member, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    instance.resource(member, ResourceType::host_dynamic(resources), |_, _| Ok(()))?;
                    resources += 1;
                    assert!(resources <= MAX_RESOURCES);
                }
                ComponentItem::ComponentFunc(_) => {
                    let known = ours.then(|| member.to_owned());
                    instance.func_new(member, move |mut store, ty, params, results| {
                        for param in params {
                            // A borrowed resource is given back before the call returns.
                            if let Val::Resource(resource) = param {
                                resource.resource_drop(&mut store)?;
                            }
                        }
                        answer(&mut store, known.as_deref(), &ty, params, results)
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Answers one call. `ours` names a function of the interface `script`.
fn answer(
    store: &mut Caller<'_>,
    ours: Option<&str>,
    ty: &ComponentFunc,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let subject = store.data_mut();
    subject.calls += 1;
    if subject.calls > MAX_CALLS {
        return Err(wasmtime::Error::new(Ended("host calls")));
    }
    subject.lacked |= params
        .iter()
        .any(|text| matches!(text, Val::String(text) if text.contains("out of memory")));
    match ours {
        Some("source") => {
            let Val::String(path) = &params[0] else {
                unreachable!("a path is a text")
            };
            let text = subject.files.get(path).cloned();
            results[0] = Val::Option(text.map(|text| Box::new(Val::String(text))));
            return Ok(());
        }
        Some("time-left") if !subject.random.once_in(50) => {
            let left = subject.deadline.saturating_duration_since(Instant::now());
            results[0] = Val::U32(u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
            return Ok(());
        }
        Some("stop") => return Err(wasmtime::Error::new(Ended("time budget"))),
        Some("memory") => {
            results[0] = Val::U32(subject.memory);
            return Ok(());
        }
        _ => {}
    }
    let mut random = subject.random.clone();
    for (result, ty) in results.iter_mut().zip(ty.results()) {
        *result = value(store, &mut random, &ty)?;
    }
    store.data_mut().random = random;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "any number will do")]
fn value(store: &mut Caller<'_>, random: &mut Random, ty: &Type) -> wasmtime::Result<Val> {
    let mut boxed = |random: &mut Random, ty: Option<Type>| -> wasmtime::Result<_> {
        ty.map(|ty| value(store, random, &ty).map(Box::new)).transpose()
    };
    Ok(match ty {
        Type::Bool => Val::Bool(random.once_in(2)),
        Type::U8 => Val::U8(random.number() as u8),
        Type::S8 => Val::S8(random.number() as i8),
        Type::U16 => Val::U16(random.number() as u16),
        Type::S16 => Val::S16(random.number() as i16),
        Type::U32 => Val::U32(random.number() as u32),
        Type::S32 => Val::S32(random.number() as i32),
        Type::U64 => Val::U64(random.number()),
        Type::S64 => Val::S64(random.number() as i64),
        Type::Float32 => Val::Float32(f32::from_bits(random.number() as u32)),
        Type::Float64 => Val::Float64(f64::from_bits(random.number())),
        Type::String => Val::String(text(random)),
        Type::List(list) => {
            let count = match random.below(20) {
                0 => 20_000,
                1 => 300,
                _ => random.below(5),
            };
            let items = (0..count).map(|_| value(store, random, &list.ty()));
            Val::List(items.collect::<wasmtime::Result<_>>()?)
        }
        Type::Record(record) => {
            let fields = record.fields();
            let fields = fields.map(|field| Ok((field.name.to_owned(), value(store, random, &field.ty)?)));
            Val::Record(fields.collect::<wasmtime::Result<_>>()?)
        }
        Type::Enum(words) => {
            let at = random.below(words.names().len());
            Val::Enum(words.names().nth(at).expect("below their number").to_owned())
        }
        Type::Variant(variant) => {
            let at = random.below(variant.cases().len());
            let case = variant.cases().nth(at).expect("below their number");
            Val::Variant(case.name.to_owned(), boxed(random, case.ty)?)
        }
        Type::Option(option) => {
            let some = random.once_in(2).then(|| option.ty());
            Val::Option(boxed(random, some)?)
        }
        Type::Result(result) if random.once_in(4) => Val::Result(Err(boxed(random, result.err())?)),
        Type::Result(result) => Val::Result(Ok(boxed(random, result.ok())?)),
        Type::Own(resource) => {
            let payload = (0..MAX_RESOURCES).find(|n| *resource == ResourceType::host_dynamic(*n));
            let payload = payload.expect("the linker has defined it");
            let made = ResourceDynamic::new_own(random.number() as u32, payload);
            Val::Resource(made.try_into_resource_any(&mut *store)?)
        }
        other => panic!("the host makes no {other:?}"),
    })
}

/// Returns an arbitrary text; texts that mean something in JavaScript or JSON are likely.
pub(super) fn text(random: &mut Random) -> String {
    const TEXTS: [&str; 16] = [
        "",
        "a",
        "__proto__",
        "constructor",
        "then",
        "{}",
        "[]",
        "null",
        "{\"a\":[1,{\"b\":\"\\ud83d\"}],\"__proto__\":1}",
        "1e999",
        "gpio\ni2c\nspi\nuart\npwm\nadc",
        "1 global\n2 init\n",
        "😀漢ü",
        "\0a\0",
        "\u{fffd}\u{ffff}\u{10ffff}",
        "main.js:1:1)\n  at x (main.js:2",
    ];
    match random.below(24) {
        0 => "x".repeat(random.below(100_000)),
        1 => "ü😀".repeat(random.below(2000)),
        2 => "[".repeat(random.below(5000)),
        3 => format!("{}", random.number()),
        _ => (*random.of(&TEXTS)).to_owned(),
    }
}
