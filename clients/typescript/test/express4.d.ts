// Express 4, as far as the tests know it: in the types of Express 5.
declare module "express4" {
  import express from "express";
  export default express;
}
