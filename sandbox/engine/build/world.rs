//! Turns the WIT world into `world.h`: tables that the C glue interprets, and the functions that the component
//! imports and exports. Refuses what the glue does not know.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use wit_parser::abi::{AbiVariant, WasmSignature};
use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, Resolve, SizeAlign, Type, TypeDefKind, TypeId, WorldId,
    WorldItem,
};

use crate::c_text::{as_slot, c_type, camel, from_slot, or_void, pascal, to_slot};

/// Name of the world in the WIT package.
const WORLD: &str = "engine";
/// Size of the largest parameter or result that the glue has room for: `AREA_BYTES` of `c/engine.h`.
const AREA_BYTES: usize = 64;
/// Value of an index that names nothing.
const NONE: i32 = -1;

/// Reads the WIT package in a folder.
pub(crate) fn read(folder: &Path) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error:#}", folder.display()));
    let world = resolve
        .select_world(&[package], Some(WORLD))
        .unwrap_or_else(|error| panic!("{}: {error:#}", folder.display()));
    (resolve, world)
}

/// Returns the text of `world.h`.
pub(crate) fn header(resolve: &Resolve, world: WorldId) -> String {
    let mut tables = Tables::new(resolve);
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            panic!("the world imports something that is not an interface");
        };
        tables.import(*id);
    }
    for item in resolve.worlds[world].exports.values() {
        let WorldItem::Interface { id, .. } = item else {
            panic!("the world exports something that is not an interface");
        };
        tables.export(*id);
    }
    tables.text()
}

struct Tables<'a> {
    resolve: &'a Resolve,
    sizes: SizeAlign,
    known: HashMap<String, i32>,
    types: Vec<String>,
    members: Vec<String>,
    resources: Vec<(TypeId, String)>,
    interfaces: Vec<String>,
    functions: Vec<String>,
    exports: Vec<String>,
    code: String,
}

impl<'a> Tables<'a> {
    fn new(resolve: &'a Resolve) -> Self {
        let mut sizes = SizeAlign::default();
        sizes.fill(resolve);
        Self {
            resolve,
            sizes,
            known: HashMap::new(),
            types: Vec::new(),
            members: Vec::new(),
            resources: Vec::new(),
            interfaces: Vec::new(),
            functions: Vec::new(),
            exports: Vec::new(),
            code: String::new(),
        }
    }

    fn import(&mut self, id: InterfaceId) {
        let name = self.resolve.id_of(id).expect("imported interfaces have names");
        let interface = &self.resolve.interfaces[id];
        let first_resource = self.resources.len();
        for (type_name, type_id) in &interface.types {
            if matches!(self.resolve.types[*type_id].kind, TypeDefKind::Resource) {
                let index = self.resources.len();
                let _ = writeln!(
                    self.code,
                    "IMPORT(\"{name}\", \"[resource-drop]{type_name}\") void drop_{index}(uint32_t);"
                );
                self.resources
                    .push((*type_id, format!("{{ \"{}\", drop_{index} }}", pascal(type_name))));
            }
        }
        let first = self.functions.len();
        for function in interface.functions.values() {
            self.imported(&name, function);
        }
        self.interfaces.push(format!(
            "{{ \"{name}\", {first}, {}, {first_resource}, {} }}",
            self.functions.len() - first,
            self.resources.len() - first_resource
        ));
    }

    fn imported(&mut self, interface: &str, function: &Function) {
        let index = self.functions.len();
        let signature = self.resolve.wasm_signature(AbiVariant::GuestImport, function);
        let symbol = format!("import_{index}");
        let result = signature.results.first().map_or("void", |ty| c_type(*ty));
        let parameters: Vec<_> = signature.params.iter().map(|ty| c_type(*ty)).collect();
        let _ = writeln!(
            self.code,
            "IMPORT(\"{interface}\", \"{}\") {result} {symbol}({});",
            function.name,
            or_void(parameters.join(", "))
        );
        let arguments: Vec<_> = signature
            .params
            .iter()
            .enumerate()
            .map(|(at, ty)| from_slot(*ty, at))
            .collect();
        let call = format!("{symbol}({})", arguments.join(", "));
        let call = match signature.results.first() {
            Some(ty) => to_slot(*ty, &call),
            None => format!("{call};"),
        };
        let _ = writeln!(
            self.code,
            "static void call_{index}(uint64_t *s) {{ (void)s; {call} }}"
        );
        let resource = match function.kind {
            FunctionKind::Freestanding => NONE,
            FunctionKind::Method(id) => self.resource(id),
            _ => panic!("{}: the glue knows functions and methods only", function.name),
        };
        let row = self.function_row(function, &signature, resource, &format!("call_{index}"));
        self.functions.push(row);
    }

    fn export(&mut self, id: InterfaceId) {
        let name = self.resolve.id_of(id).expect("exported interfaces have names");
        for function in self.resolve.interfaces[id].functions.values() {
            let index = self.exports.len();
            let signature = self.resolve.wasm_signature(AbiVariant::GuestExport, function);
            assert!(
                signature.retptr && !signature.indirect_params,
                "{}: the glue knows exports whose result is in memory",
                function.name
            );
            let parameters: Vec<_> = signature
                .params
                .iter()
                .enumerate()
                .map(|(at, ty)| format!("{} a{at}", c_type(*ty)))
                .collect();
            let slots: String = signature
                .params
                .iter()
                .enumerate()
                .map(|(at, ty)| format!(" s[{at}] = {};", as_slot(*ty, &format!("a{at}"))))
                .collect();
            let export = format!("{name}#{}", function.name);
            let _ = writeln!(
                self.code,
                "EXPORT(\"{export}\") uint32_t export_{index}({}) {{ uint64_t s[{}];{slots} return glue_export({index}, s); }}\n\
                 EXPORT(\"cabi_post_{export}\") void post_{index}(uint32_t at) {{ (void)at; glue_returned(); }}",
                or_void(parameters.join(", ")),
                signature.params.len().max(1)
            );
            let row = self.function_row(function, &signature, NONE, "0");
            self.exports.push(row);
        }
    }

    fn function_row(
        &mut self,
        function: &Function,
        signature: &WasmSignature,
        resource: i32,
        thunk: &str,
    ) -> String {
        for ty in function
            .params
            .iter()
            .map(|param| &param.ty)
            .chain(&function.result)
        {
            assert!(
                self.sizes.size(ty).size_wasm32() <= AREA_BYTES,
                "{}: a parameter or result is larger than the glue's area",
                function.name
            );
        }
        // A parameter's name is what an error about it says; the receiver of a method is not one for authors.
        let skipped = usize::from(resource != NONE);
        let types: Vec<_> = function.params.iter().map(|param| param.ty).collect();
        let offsets: Vec<usize> = self
            .sizes
            .field_offsets(&types)
            .iter()
            .map(|(offset, _)| offset.size_wasm32())
            .collect();
        assert!(
            !signature.indirect_params,
            "{}: too many parameters for the glue",
            function.name
        );
        let rows: Vec<_> = function
            .params
            .iter()
            .zip(offsets)
            .skip(skipped)
            .map(|(param, offset)| {
                let ty = self.of(&param.ty);
                format!("{{ \"{}\", {ty}, {offset} }}", camel(&param.name))
            })
            .collect();
        let count = rows.len();
        let first = self.add_members(rows);
        let result = function.result.map_or(NONE, |ty| self.of(&ty));
        let name = function.name.rsplit('.').next().expect("a split has a last part");
        format!(
            "{{ \"{}\", {first}, {count}, {result}, {}, {resource}, {thunk} }}",
            camel(name),
            i32::from(signature.retptr)
        )
    }

    fn add_members(&mut self, rows: Vec<String>) -> usize {
        let first = self.members.len();
        self.members.extend(rows);
        first
    }

    /// Returns the index of a type in the table, which is extended when the type is new.
    fn of(&mut self, ty: &Type) -> i32 {
        let ty = &self.plain(ty);
        let key = format!("{ty:?}");
        if let Some(index) = self.known.get(&key) {
            return *index;
        }
        let row = self.row(ty);
        let index = i32::try_from(self.types.len()).expect("few types");
        self.types.push(row);
        self.known.insert(key, index);
        index
    }

    /// Follows aliases.
    fn plain(&self, ty: &Type) -> Type {
        let mut ty = *ty;
        while let Type::Id(id) = ty
            && let TypeDefKind::Type(target) = self.resolve.types[id].kind
        {
            ty = target;
        }
        ty
    }

    fn row(&mut self, ty: &Type) -> String {
        let size = self.sizes.size(ty).size_wasm32();
        let align = self.sizes.align(ty).align_wasm32();
        let flat = self.flat(ty);
        let row = |kind: &str, tag: usize, payload: usize, first: i32, count: usize| {
            format!("{{ {kind}, {align}, {tag}, {flat}, {size}, {payload}, {first}, {count} }}")
        };
        let simple = |kind: &str| row(kind, 0, 0, NONE, 0);
        let id = match ty {
            Type::Bool => return simple("T_BOOL"),
            Type::U8 => return simple("T_U8"),
            Type::S8 => return simple("T_S8"),
            Type::U16 => return simple("T_U16"),
            Type::S16 => return simple("T_S16"),
            Type::U32 => return simple("T_U32"),
            Type::S32 => return simple("T_S32"),
            Type::U64 => return simple("T_U64"),
            Type::S64 => return simple("T_S64"),
            Type::F32 => return simple("T_F32"),
            Type::F64 => return simple("T_F64"),
            Type::String => return simple("T_STRING"),
            Type::Id(id) => *id,
            other => panic!("the glue does not know {other:?}"),
        };
        match self.resolve.types[id].kind.clone() {
            TypeDefKind::List(element) => {
                let element = self.of(&element);
                row("T_LIST", 0, 0, element, 0)
            }
            TypeDefKind::Option(inner) => {
                let payload = self.payload(1, &[Some(inner)]);
                let inner = self.of(&inner);
                row("T_OPTION", 1, payload, inner, 0)
            }
            TypeDefKind::Result(result) => {
                let payload = self.payload(1, &[result.ok, result.err]);
                let rows = [result.ok, result.err]
                    .map(|ty| {
                        let ty = ty.map_or(NONE, |ty| self.of(&ty));
                        format!("{{ \"\", {ty}, 0 }}")
                    })
                    .to_vec();
                let first = self.add_members(rows);
                row(
                    "T_RESULT",
                    1,
                    payload,
                    i32::try_from(first).expect("few members"),
                    2,
                )
            }
            TypeDefKind::Record(record) => {
                let types: Vec<_> = record.fields.iter().map(|field| field.ty).collect();
                let offsets: Vec<usize> = self
                    .sizes
                    .field_offsets(&types)
                    .iter()
                    .map(|(offset, _)| offset.size_wasm32())
                    .collect();
                let rows: Vec<_> = record
                    .fields
                    .iter()
                    .zip(offsets)
                    .map(|(field, offset)| {
                        let ty = self.of(&field.ty);
                        format!("{{ \"{}\", {ty}, {offset} }}", camel(&field.name))
                    })
                    .collect();
                let count = rows.len();
                let first = self.add_members(rows);
                row(
                    "T_RECORD",
                    0,
                    0,
                    i32::try_from(first).expect("few members"),
                    count,
                )
            }
            TypeDefKind::Variant(variant) => {
                let types: Vec<_> = variant.cases.iter().map(|case| case.ty).collect();
                let payload = self.payload(tag_bytes(types.len()), &types);
                let rows: Vec<_> = variant
                    .cases
                    .iter()
                    .map(|case| {
                        let ty = case.ty.map_or(NONE, |ty| self.of(&ty));
                        format!("{{ \"{}\", {ty}, 0 }}", case.name)
                    })
                    .collect();
                let (count, tag) = (rows.len(), tag_bytes(rows.len()));
                let first = self.add_members(rows);
                row(
                    "T_VARIANT",
                    tag,
                    payload,
                    i32::try_from(first).expect("few members"),
                    count,
                )
            }
            TypeDefKind::Enum(cases) => {
                let rows: Vec<_> = cases
                    .cases
                    .iter()
                    .map(|case| format!("{{ \"{}\", {NONE}, 0 }}", case.name))
                    .collect();
                let (count, tag) = (rows.len(), tag_bytes(rows.len()));
                let first = self.add_members(rows);
                row(
                    "T_ENUM",
                    tag,
                    0,
                    i32::try_from(first).expect("few members"),
                    count,
                )
            }
            TypeDefKind::Handle(Handle::Own(id)) => {
                let resource = self.resource(id);
                row("T_OWN", 0, 0, resource, 0)
            }
            TypeDefKind::Handle(Handle::Borrow(id)) => {
                let resource = self.resource(id);
                row("T_BORROW", 0, 0, resource, 0)
            }
            other => panic!("the glue does not know {}", other.as_str()),
        }
    }

    fn payload(&self, tag: usize, cases: &[Option<Type>]) -> usize {
        assert_eq!(tag, 1, "the glue knows tags of one byte");
        self.sizes
            .payload_offset(wit_parser::Int::U8, cases.iter().map(Option::as_ref))
            .size_wasm32()
    }

    /// Returns how many core values a type becomes.
    fn flat(&self, ty: &Type) -> usize {
        let longest = |cases: &[Option<Type>]| {
            let lengths = cases.iter().flatten().map(|ty| self.flat(ty));
            lengths.max().unwrap_or_default()
        };
        let Type::Id(id) = self.plain(ty) else {
            return if matches!(ty, Type::String) { 2 } else { 1 };
        };
        match &self.resolve.types[id].kind {
            TypeDefKind::List(_) => 2,
            TypeDefKind::Option(inner) => 1 + self.flat(inner),
            TypeDefKind::Result(result) => 1 + longest(&[result.ok, result.err]),
            TypeDefKind::Record(record) => record.fields.iter().map(|field| self.flat(&field.ty)).sum(),
            TypeDefKind::Variant(variant) => {
                1 + longest(&variant.cases.iter().map(|case| case.ty).collect::<Vec<_>>())
            }
            _ => 1,
        }
    }

    fn resource(&self, id: TypeId) -> i32 {
        let Type::Id(id) = self.plain(&Type::Id(id)) else {
            panic!("a resource is a named type");
        };
        let index = self.resources.iter().position(|(known, _)| *known == id);
        i32::try_from(index.expect("resources come before what uses them")).expect("few resources")
    }

    fn text(self) -> String {
        let resources: Vec<_> = self.resources.into_iter().map(|(_, row)| row).collect();
        let mut text = String::from("/* Made by the build script from the WIT package. */\n");
        text.push_str(&self.code);
        for (kind, name, rows) in [
            ("type", "types", &self.types),
            ("member", "members", &self.members),
            ("resource", "resources", &resources),
            ("function", "functions", &self.functions),
            ("function", "exports", &self.exports),
            ("interface", "interfaces", &self.interfaces),
        ] {
            let _ = writeln!(
                text,
                "#define {}_COUNT {}\nstatic const struct {kind} {name}[] = {{\n  {}\n}};",
                name.to_uppercase(),
                rows.len(),
                rows.join(",\n  ")
            );
        }
        text
    }
}

/// Size of the number that says which case it is, in bytes.
fn tag_bytes(cases: usize) -> usize {
    assert!(cases <= 256, "the glue knows tags of one byte");
    1
}
