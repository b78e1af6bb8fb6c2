// As it is published, the library's build for browsers asks for Node's modules, which bundlers look for in vain, and is no ES
// module, which pages without a bundler need: the build puts it here whole and without either.
export { default } from "workerpool";
