//! wasmtime alone, with the few types and imports that the measured firmware uses.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker, Lower, TypedFunc, WasmStr};
use wasmtime::{Config, Engine, Store, StoreContextMut};

use crate::scripts::ECHO;

/// The world's `fault`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum RawFault {
    #[component(name = "invalid")]
    Invalid(String),
    #[component(name = "unsupported")]
    Unsupported(String),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "busy")]
    Busy,
    #[component(name = "limit")]
    Limit(String),
    #[component(name = "io")]
    Io(String),
    #[component(name = "failed")]
    Failed(String),
}

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the firmware makes them")]
pub(crate) enum Durability {
    #[component(name = "buffered")]
    Buffered,
    #[component(name = "durable")]
    Durable,
}

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the firmware makes them")]
pub(crate) enum RawLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) values: String,
}

pub(crate) type Answer<T> = (Result<T, RawFault>,);

/// wasmtime with as little as possible around it.
pub(crate) struct Raw {
    pub(crate) engine: Engine,
    pre: InstancePre<()>,
}

impl Raw {
    pub(crate) fn engine() -> Engine {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .epoch_interruption(true)
            .max_wasm_stack(1 << 20);
        Engine::new(&config).unwrap()
    }

    pub(crate) fn load(engine: &Engine, code: &Path) -> Component {
        // SAFETY: this program compiled it a moment ago.
        unsafe { Component::deserialize_file(engine, code) }.unwrap()
    }

    pub(crate) fn new(engine: &Engine, code: &Path) -> Self {
        let mut linker = Linker::new(engine);
        let mut clock = linker.instance("iottly:firmware/clock@0.1.0").unwrap();
        clock
            .func_wrap("now-ms", |_: StoreContextMut<'_, ()>, (): ()| {
                Ok((black_box(1_u64),))
            })
            .unwrap();
        let began = Instant::now();
        clock
            .func_wrap("monotonic-ns", move |_: StoreContextMut<'_, ()>, (): ()| {
                Ok((u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),))
            })
            .unwrap();
        let mut random = linker.instance("iottly:firmware/random@0.1.0").unwrap();
        random
            .func_wrap("seed", |_: StoreContextMut<'_, ()>, (): ()| Ok((1_u64,)))
            .unwrap();
        let mut telemetry = linker.instance("iottly:firmware/telemetry@0.1.0").unwrap();
        let send = |store: StoreContextMut<'_, ()>,
                    (text, channel, how): (WasmStr, Option<WasmStr>, Durability)| {
            black_box((text.to_str(&store)?.into_owned(), channel.is_some(), how as u8));
            Ok((Ok::<(), RawFault>(()),))
        };
        telemetry.func_wrap("send", send).unwrap();
        let mut log = linker.instance("iottly:firmware/log@0.1.0").unwrap();
        let write = |store: StoreContextMut<'_, ()>, (level, text): (RawLevel, WasmStr)| {
            black_box((level as u8, text.to_str(&store)?.into_owned()));
            Ok(())
        };
        log.func_wrap("write", write).unwrap();
        let mut script = linker.instance("iottly:firmware/script@0.1.0").unwrap();
        let source = |store: StoreContextMut<'_, ()>, (path,): (WasmStr,)| {
            Ok(((path.to_str(&store)? == "main.js").then(|| ECHO.to_owned()),))
        };
        script.func_wrap("source", source).unwrap();
        let left = |_: StoreContextMut<'_, ()>, (): ()| Ok((u32::MAX,));
        script.func_wrap("time-left", left).unwrap();
        let memory = |_: StoreContextMut<'_, ()>, (): ()| Ok((16_u32 << 20,));
        script.func_wrap("memory", memory).unwrap();
        linker
            .define_unknown_imports_as_traps(&Self::load(engine, code))
            .unwrap();
        let pre = linker.instantiate_pre(&Self::load(engine, code)).unwrap();
        Self {
            engine: engine.clone(),
            pre,
        }
    }

    pub(crate) fn start(&self) -> (Store<()>, wasmtime::component::Instance) {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate(&mut store).unwrap();
        (store, instance)
    }

    pub(crate) fn export<P, R>(
        store: &mut Store<()>,
        instance: &wasmtime::component::Instance,
        name: &str,
    ) -> TypedFunc<P, R>
    where
        P: wasmtime::component::ComponentNamedList + Lower,
        R: wasmtime::component::ComponentNamedList + Lift,
    {
        let app = instance
            .get_export_index(&mut *store, None, "iottly:firmware/app@0.1.0")
            .unwrap();
        let function = instance.get_export_index(&mut *store, Some(&app), name).unwrap();
        instance.get_typed_func(store, function).unwrap()
    }
}
