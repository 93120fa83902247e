//! The names of the world, as scripts write them.

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Type};

/// Functions and texts that scripts are made of.
#[derive(Default)]
pub(super) struct Surface {
    /// Interfaces, each with its functions and the number of their parameters.
    pub(super) interfaces: Vec<(String, Vec<(String, usize)>)>,
    /// Methods of all resources, with the number of their parameters.
    pub(super) methods: Vec<(String, usize)>,
    /// Words of enumerations and tags of variants.
    pub(super) words: Vec<String>,
}

impl Surface {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let mut surface = Self::default();
        for (name, item) in component.component_type().imports(engine) {
            let ComponentItem::ComponentInstance(interface) = item.ty else {
                continue;
            };
            // A script that imports this one does not start.
            if name.starts_with("iottly:firmware/script@") {
                continue;
            }
            let mut functions = Vec::new();
            for (member, item) in interface.exports(engine) {
                let ComponentItem::ComponentFunc(function) = item.ty else {
                    continue;
                };
                function.params().for_each(|(_, ty)| surface.add_words(&ty));
                let count = function.params().len();
                match member.rsplit_once('.') {
                    Some((_, method)) => surface.methods.push((camel(method), count - 1)),
                    None => functions.push((camel(member), count)),
                }
            }
            surface.interfaces.push((name.to_owned(), functions));
        }
        surface
    }

    fn add_words(&mut self, ty: &Type) {
        match ty {
            Type::Enum(words) => self.words.extend(words.names().map(str::to_owned)),
            Type::Variant(variant) => {
                for case in variant.cases() {
                    self.words.push(case.name.to_owned());
                    case.ty.iter().for_each(|ty| self.add_words(ty));
                }
            }
            Type::List(list) => self.add_words(&list.ty()),
            Type::Record(record) => record.fields().for_each(|field| self.add_words(&field.ty)),
            _ => {}
        }
    }
}

/// `open-input` as `openInput`.
fn camel(name: &str) -> String {
    let mut text = String::new();
    for (at, part) in name.split('-').enumerate() {
        let (first, rest) = part.split_at(1);
        if at == 0 {
            text.push_str(first);
        } else {
            text.push_str(&first.to_ascii_uppercase());
        }
        text.push_str(rest);
    }
    text
}
