//! Finds the sources of QuickJS-ng and of the libc, and applies our patches to them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that ships the sources.
const PACKAGE: &str = "rquickjs-sys";

/// A change of a file: the text that is there, how often, and what replaces it.
struct Patch {
    file: &'static str,
    from: &'static str,
    times: usize,
    to: &'static str,
}

const PATCHES: [Patch; 30] = [
    // A loop whose time is up knows its line: that of the instruction that it has jumped to, and loops begin with one that
    // has a place. A place is looked up for the byte before the one that is noted.
    Patch {
        file: "quickjs.c",
        from: "if (unlikely(js_poll_interrupts(ctx)))",
        times: 7,
        to: "if (unlikely(js_poll_interrupts_at(ctx, sf, pc)))",
    },
    Patch {
        file: "quickjs.c",
        from: "static inline __exception int js_poll_interrupts(JSContext *ctx)\n{",
        times: 1,
        to: "static inline __exception int js_poll_interrupts_at(JSContext *ctx, JSStackFrame *sf, const uint8_t *pc)\n\
             {\n    if (likely(--ctx->interrupt_counter > 0)) return 0;\n    sf->cur_pc = (uint8_t *)pc + 1;\n    \
             return __js_poll_interrupts(ctx);\n}\n\n\
             static inline __exception int js_poll_interrupts(JSContext *ctx)\n{",
    },
    Patch {
        file: "quickjs.c",
        from: "            emit_label(s, label_body);\n            if (js_parse_statement(s))",
        times: 1,
        to: "            emit_label(s, label_body);\n            \
             emit_source_loc_at(s, source_line_num, source_col_num);\n            if (js_parse_statement(s))",
    },
    Patch {
        file: "quickjs.c",
        from: "                emit_label(s, label_test);\n                if (js_parse_expr(s))",
        times: 1,
        to: "                emit_label(s, label_test);\n                emit_source_loc(s);\n                \
             if (js_parse_expr(s))",
    },
    Patch {
        file: "quickjs.c",
        from: "                emit_label(s, label_cont);\n                if (js_parse_expr(s))",
        times: 1,
        to: "                emit_label(s, label_cont);\n                emit_source_loc(s);\n                \
             if (js_parse_expr(s))",
    },
    Patch {
        file: "quickjs.c",
        from: "            emit_label(s, label_cont);\n            if (js_parse_expr_paren(s))",
        times: 1,
        to: "            emit_label(s, label_cont);\n            emit_source_loc(s);\n            \
             if (js_parse_expr_paren(s))",
    },
    Patch {
        file: "quickjs.c",
        from: "            emit_label(s, label1);\n\n            set_eval_ret_undefined(s);\n",
        times: 1,
        to: "            emit_label(s, label1);\n            emit_source_loc(s);\n            \
             set_eval_ret_undefined(s);\n",
    },
    // The prelude's functions do not keep their texts: every instance would pay for them.
    Patch {
        file: "quickjs.c",
        from: "    b->source = fd->source;\n    b->source_len = fd->source_len;\n",
        times: 1,
        to: "    if (engine_is_ours(ctx, fd->filename)) {\n        js_free(ctx, fd->source);\n        \
             fd->source = NULL;\n        fd->source_len = 0;\n    }\n    \
             b->source = fd->source;\n    b->source_len = fd->source_len;\n",
    },
    // Garbage is collected before the heap of the script is full.
    Patch {
        file: "quickjs.c",
        from: "        rt->malloc_gc_threshold = rt->malloc_state.malloc_size +\n            (rt->malloc_state.malloc_size >> 1);\n",
        times: 1,
        to: "        rt->malloc_gc_threshold = engine_gc_threshold(rt->malloc_state.malloc_size);\n",
    },
    // A wrong regular expression has its place, as every other syntax error has.
    Patch {
        file: "quickjs.c",
        from: "                /* add the line number info */\n                backtrace_flags = 0;\n",
        times: 1,
        to: "                engine_forget_stack(s->ctx);\n                backtrace_flags = 0;\n",
    },
    // No allocation of a compilation fails, and one that has used more than the heap's limit ends at its next token, or
    // before its result is used.
    Patch {
        file: "quickjs.c",
        from: "    fd = js_new_function_def(ctx, NULL, true, false, filename, line, 1);\n",
        times: 1,
        to: "    engine_compile_begin(ctx);\n    fd = js_new_function_def(ctx, NULL, true, false, filename, line, 1);\n",
    },
    Patch {
        file: "quickjs.c",
        from: "    err = js_parse_program(s);\n    if (err) {\n",
        times: 1,
        to: "    err = js_parse_program(s);\n    if (err || unlikely(engine_compile_fails(ctx))) {\n",
    },
    Patch {
        file: "quickjs.c",
        from: " fail1:\n    /* XXX: should free all",
        times: 1,
        to: " fail1:\n    engine_compile_end();\n    /* XXX: should free all",
    },
    Patch {
        file: "quickjs.c",
        from: "    fun_obj = js_create_function(ctx, fd);\n    if (JS_IsException(fun_obj))\n        goto fail1;\n    /* Could",
        times: 1,
        to: "    fun_obj = js_create_function(ctx, fd);\n    err = engine_compile_fails(ctx);\n    engine_compile_end();\n    \
             if (unlikely(err)) {\n        JS_FreeValue(ctx, fun_obj);\n        goto fail1;\n    }\n    /* Could",
    },
    Patch {
        file: "quickjs.c",
        from: "    }\n\n    free_token(s, &s->token);",
        times: 1,
        to: "    }\n    if (unlikely(engine_compile_fails(s->ctx))) return -1;\n\n    free_token(s, &s->token);",
    },
    // An error of a look ahead is none: the parser goes back, and the text may mean something else than it looked like.
    Patch {
        file: "quickjs.c",
        from: "                    /* XXX: should clear the exception */\n",
        times: 1,
        to: "                    JS_FreeValue(s->ctx, JS_GetException(s->ctx));\n",
    },
    Patch {
        file: "quickjs.c",
        from: "            /* XXX: should clear the exception generated by next_token() */\n",
        times: 1,
        to: "            JS_FreeValue(s->ctx, JS_GetException(s->ctx));\n",
    },
    // A scope for which there is no number ends the compilation: its number would be taken for another's.
    Patch {
        file: "quickjs.c",
        from: "        /* XXX: should check for scope overflow */\n",
        times: 1,
        to: "        if (unlikely(scope >= UINT16_MAX)) {\n            \
             js_parse_error(s, \"too many blocks in one function\");\n            return -1;\n        }\n",
    },
    Patch {
        file: "quickjs.c",
        from: "        fd->scope_level = fd->scopes[scope].parent;\n",
        times: 1,
        to: "        fd->scope_level = max_int(fd->scopes[scope].parent, 0);\n",
    },
    // A variable beyond the largest number of them ends the compilation: its index is -1, and was used as one.
    Patch {
        file: "quickjs.c",
        from: "NULL, NULL, pos_next);\n            JS_FreeAtom(ctx, var_name);",
        times: 1,
        to: "NULL, NULL, pos_next);\n            if (unlikely(JS_HasException(ctx)))\n                goto fail;\n            \
             JS_FreeAtom(ctx, var_name);",
    },
    Patch {
        file: "quickjs.c",
        from: "bc_buf, ls, pos_next);\n                JS_FreeAtom(ctx, var_name);",
        times: 1,
        to: "bc_buf, ls, pos_next);\n                if (unlikely(JS_HasException(ctx)))\n                    goto fail;\n                \
             JS_FreeAtom(ctx, var_name);",
    },
    Patch {
        file: "quickjs.c",
        from: "        has_idx:\n            if ((op ==",
        times: 1,
        to: "        has_idx:\n            if (unlikely(idx < 0)) goto done;\n            if ((op ==",
    },
    // A bound function for which there was no memory has no function yet when it is freed.
    Patch {
        file: "quickjs.c",
        from: "JSBoundFunction *bf = p->u.bound_function;\n    int i;\n",
        times: 2,
        to: "JSBoundFunction *bf = p->u.bound_function;\n    int i;\n\n    if (unlikely(!bf)) return;\n",
    },
    // An array of a class of its own, for whose length there is no memory, is no array.
    Patch {
        file: "quickjs.c",
        from: "                                      JS_PROP_WRITABLE | JS_PROP_LENGTH);\n                }\n",
        times: 1,
        to: "                                      JS_PROP_WRITABLE | JS_PROP_LENGTH);\n                    \
             if (unlikely(!pr)) {\n                        sh = p->shape;\n                        \
             js_free(ctx, p->prop);\n                        js_free(ctx, p);\n                        goto fail;\n                    \
             }\n                }\n",
    },
    // A regular expression whose names or sequences of characters have no memory is an error: it would be searched for
    // names that it lacks.
    Patch {
        file: "libregexp.c",
        from: "    if (dbuf_error(&s->byte_code)) {\n        re_parse_out_of_memory(s);\n        goto error;\n",
        times: 1,
        to: "    if (dbuf_error(&s->byte_code) || dbuf_error(&s->group_names)) {\n        \
             re_parse_out_of_memory(s);\n        goto error;\n",
    },
    Patch {
        file: "libregexp.c",
        from: "static void seq_prop_cb(void *opaque, const uint32_t *seq, int seq_len)\n{\n    REStringList *sl = opaque;\n    ",
        times: 1,
        to: "static bool seq_prop_failed;\n\n\
             static void seq_prop_cb(void *opaque, const uint32_t *seq, int seq_len)\n{\n    REStringList *sl = opaque;\n    \
             seq_prop_failed |= 0 != ",
    },
    Patch {
        file: "libregexp.c",
        from: "            ret = unicode_sequence_prop(name, seq_prop_cb, cr, &cr_tmp);\n            cr_free(&cr_tmp);\n            \
               if (ret == -1) {\n",
        times: 1,
        to: "            seq_prop_failed = false;\n            \
             ret = unicode_sequence_prop(name, seq_prop_cb, cr, &cr_tmp);\n            cr_free(&cr_tmp);\n            \
             if (ret == -1 || unlikely(seq_prop_failed)) {\n",
    },
    // A name for which there is no memory is an exception; there was none, and a script caught what is no value.
    Patch {
        file: "quickjs.c",
        from: "    /* XXX: should generate an exception */\n    return __JS_NewAtom(rt, p, JS_ATOM_TYPE_STRING);\n",
        times: 1,
        to: "    return engine_atom(ctx, __JS_NewAtom(rt, p, JS_ATOM_TYPE_STRING));\n",
    },
    Patch {
        file: "quickjs.c",
        from: "        return __JS_NewAtom(ctx->rt, JS_VALUE_GET_STRING(val),\n                            JS_ATOM_TYPE_STRING);\n",
        times: 2,
        to: "        return engine_atom(ctx, __JS_NewAtom(ctx->rt, JS_VALUE_GET_STRING(val), JS_ATOM_TYPE_STRING));\n",
    },
    // A number among the names of a loop for which there is no memory as a text is an exception, not the name.
    Patch {
        file: "quickjs.c",
        from: "    sp[0] = JS_AtomToValue(ctx, prop);\n    sp[1] = JS_FALSE;\n",
        times: 1,
        to: "    sp[0] = JS_AtomToValue(ctx, prop);\n    if (unlikely(JS_IsException(sp[0]))) return -1;\n    sp[1] = JS_FALSE;\n",
    },
];

/// Functions that recurse without using the C stack in linear memory, which is the only one that QuickJS can measure:
/// what each is made to use, in bytes. With it the stack of WebAssembly needs at most five times as much.
const FRAMES: [(&str, usize); 13] = [
    ("js_parse_statement_or_decl", 128),
    ("js_parse_function_decl2", 256),
    ("js_parse_assign_expr2", 256),
    ("js_parse_cond_expr", 64),
    ("js_parse_coalesce_expr", 64),
    ("js_parse_logical_and_or", 64),
    ("js_parse_expr_binary", 80),
    ("js_parse_unary", 128),
    ("js_parse_postfix_expr", 256),
    ("js_parse_class", 128),
    ("json_parse_value", 256),
    ("js_json_to_str", 256),
    ("JS_FlattenIntoArray", 128),
];

/// Returns the folder of the package that ships the sources.
///
/// Asks cargo, which knows of vendored sources too. Asking about this workspace would be wrong: cargo answers only when
/// the packages of all its members are there, those of their tests included, and a machine that has built one program has
/// downloaded what that needs. So the question is about a package in `scratch` that depends on nothing else.
pub(crate) fn find(scratch: &Path) -> PathBuf {
    let host = env::var("HOST").expect("cargo sets HOST");
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let asking = scratch.join("sources");
    let (lock, version) = locked();
    let manifest = format!(
        "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"empty.rs\"\n\
         [dependencies]\n{PACKAGE} = \"={version}\"\n[workspace]\n"
    );
    fs::create_dir_all(&asking).expect("the build's folder is writable");
    for (name, text) in [
        ("Cargo.toml", manifest),
        ("Cargo.lock", lock),
        ("empty.rs", String::new()),
    ] {
        fs::write(asking.join(name), text).expect("the build's folder is writable");
    }
    // Without the filter cargo wants the crates of all platforms, which a build for this one does not download.
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
        ])
        .arg(host)
        .arg("--manifest-path")
        .arg(asking.join("Cargo.toml"))
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo does not find the sources of the script engine, {PACKAGE} {version}. `cargo fetch` downloads them; if Cargo.lock \
         is older than a Cargo.toml, `cargo metadata` renews it. What cargo said:\n{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let manifest = packages
        .iter()
        .find(|package| package["name"] == PACKAGE)
        .and_then(|package| package["manifest_path"].as_str())
        .unwrap_or_else(|| panic!("cargo metadata does not name {PACKAGE}"));
    Path::new(manifest)
        .parent()
        .expect("a manifest is in a folder")
        .to_owned()
}

/// Returns the text of the workspace's lock file, and the version of the package in it.
fn locked() -> (String, String) {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let lock = here
        .ancestors()
        .find_map(|folder| fs::read_to_string(folder.join("Cargo.lock")).ok())
        .unwrap_or_else(|| panic!("no Cargo.lock in {} or above it", here.display()));
    let version = lock
        .split_once(&format!("name = \"{PACKAGE}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or_else(|| {
            panic!("Cargo.lock does not name {PACKAGE}: it is older than Cargo.toml, and `cargo metadata` renews it")
        })
        .to_owned();
    (lock, version)
}

/// Copies the sources of QuickJS into `folder`, patched.
pub(crate) fn copy(quickjs: &Path, folder: &Path) {
    fs::create_dir_all(folder).expect("the build's folder is writable");
    let entries = fs::read_dir(quickjs).unwrap_or_else(|error| panic!("{}: {error}", quickjs.display()));
    for entry in entries {
        let path = entry.expect("readable folder").path();
        if path
            .extension()
            .is_some_and(|ending| ending == "c" || ending == "h")
        {
            let name = path.file_name().expect("files have names").to_owned();
            let mut text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for patch in PATCHES.iter().filter(|patch| name == patch.file) {
                let found = text.matches(patch.from).count();
                assert!(
                    found == patch.times,
                    "{}: the patch of {:?} fits {found} places; {PACKAGE} has changed",
                    path.display(),
                    patch.from
                );
                text = text.replace(patch.from, patch.to);
            }
            if name == "quickjs.c" {
                for (function, bytes) in FRAMES {
                    let at = body(&text, function);
                    text.insert_str(at, &format!(" ENGINE_FRAME({bytes});"));
                }
                text.push_str("\n#include \"inside.c\"\n");
            }
            fs::write(folder.join(name), text).expect("the build's folder is writable");
        }
    }
}

/// Returns the offset of the first statement of a function in C.
fn body(text: &str, function: &str) -> usize {
    let called = format!(" {function}(");
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("static ") && line.contains(&called) {
            let rest = &text[offset..];
            if let Some(end) = rest.find([';', '{'])
                && rest[end..].starts_with('{')
            {
                return offset + end + 1;
            }
        }
        offset += line.len();
    }
    panic!("QuickJS has no function {function}; {PACKAGE} has changed")
}
